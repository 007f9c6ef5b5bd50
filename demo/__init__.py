"""The embedded default: a shop, a payment provider, an S3 server, a mailbox, all real."""
