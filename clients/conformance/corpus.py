"""The passages that the suite stores: collection `animals`, and `large`, which has no model."""

from finesieve.v1.passages_pb2 import Embedding, Passage

TEXTS = {
    "bat": "Bats are the only mammals that fly; they find insects at night by echo.",
    "bee": "Honey bees live in colonies, dance to show where flowers are, and make honey.",
    "cat": "The cat is a small carnivore that people keep as a pet and that hunts mice.",
    "eagle": "Eagles are large birds of prey with strong beaks that nest on high cliffs.",
    "salmon": "Salmon hatch in rivers, grow in the ocean and return upstream to spawn.",
    "whale": "Whales are mammals that live in the sea and breathe air through a blowhole.",
}
PASSAGES = [
    Passage(id=name, title=name.title(), text=text, document_id="book", ordinal=ordinal)
    for ordinal, (name, text) in enumerate(TEXTS.items())
]

# Each 64 KiB, the longest that is stored: 63 fit an answer of 4 MiB, 64 do not.
LARGE = [
    Passage(id=f"{number:02}", text="wide " * 13_107, embedding=Embedding(values=[1, 0]))
    for number in range(64)
]
