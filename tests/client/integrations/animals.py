ANIMALS = {
    "whale": "Whales are mammals that live in the sea. They breathe air through a blowhole.",
    "bee": "Honey bees live in colonies. They dance to show where flowers are.",
    "bat": "Bats are the only mammals that fly. They find insects at night by echo.",
    "camel": "Camels store fat in their humps. They go for days without water.",
}
COLLECTION = "integrations-animals"
