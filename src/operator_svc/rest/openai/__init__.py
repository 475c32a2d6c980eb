"""OpenAI's protocols in front of the same services, for SDKs and programs that speak them."""
