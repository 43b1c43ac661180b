"""What Event Hubs and Service Bus share: the SDKs' AMQP client, tuned and made safe to share."""
