"""Why a worker stops. Whoever supervises it starts it again; nothing half done is left behind."""

from confluent_kafka import KafkaError, KafkaException

from schemas.errors import HubError


class Fenced(HubError):
    """Another worker has taken this one's place, or the client is beyond repair. It must not go on."""

    code = "fenced"


class Stalled(HubError):
    """Something needed to go on did not come within its bound: nothing was decided."""

    code = "stalled"


class Corrupt(HubError):
    """A record that only the hub writes does not make sense. Going on would make it worse."""

    code = "corrupt"


def cause(error: KafkaException) -> KafkaError:
    """What the client says is wrong."""
    found = error.args[0]
    assert isinstance(found, KafkaError)
    return found


def beyond_repair(error: KafkaError) -> bool:
    """Whether the client will never work again, and only another one can.

    A consumer that lost its name to another tells so once, as a message whose error does not call itself
    fatal (confluent-kafka 2.16); whoever reads on hears nothing any more.
    """
    return error.fatal() or error.code() in (KafkaError._FATAL, KafkaError.FENCED_INSTANCE_ID)


def code(error: KafkaException | HubError) -> str:
    """A constant in kebab-case for logs and metrics, never a sentence of somebody's."""
    if isinstance(error, HubError):
        return error.code
    return cause(error).name().lower().strip("_").replace("_", "-")
