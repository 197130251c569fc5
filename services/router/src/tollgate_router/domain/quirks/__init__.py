"""What a provider's data says of its own ways with OpenAI's wire, made ready to be acted on; no code knows a vendor.

asking    a request on its way there       replies   where things are in what comes back
errors    what a refusal means             wire      all of it, for one provider
"""
