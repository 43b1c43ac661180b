"""Service Bus: a broker in memory, and the AMQP nodes by which the SDK reaches it."""
