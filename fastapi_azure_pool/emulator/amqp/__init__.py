"""AMQP 1.0 over TCP: what the emulated Event Hubs and Service Bus speak."""
