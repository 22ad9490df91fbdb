"""Whether everything that was promised is true at the end: each conversation against its document, and what is left."""

from dataclasses import dataclass, field
from typing import Any

from tests.chaos.person import Person
from tests.support.inside import stamps, whole


@dataclass
class Verdict:
    """What is wrong, by person; nothing, if all is well."""

    lost: int = 0
    repeated: int = 0
    messages: int = 0
    acknowledged: int = 0
    replies: int = 0
    stopped: int = 0
    failed: int = 0
    tokens: int = 0
    wrong: dict[int, list[str]] = field(default_factory=dict)
    #: The documents of those with whom something is wrong.
    documents: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    leftovers: dict[str, Any] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return not self.wrong and not self.leftovers and not self.lost and not self.repeated

    def judge(self, person: Person, document: list[dict[str, Any]], tokens: int) -> None:
        """Compare one person's side with the document."""
        self.messages += len(person.said)
        self.acknowledged += len(person.acknowledged)
        wrong = [*person.broken]
        if not person.settled:
            wrong.append("is still waiting for something")
        if person.messages != document:
            wrong.append("sees something else than the document says")
        wrong += self._judge_messages(person, document)
        for message in document:
            if message["role"] == "bot":
                wrong += self._judge_reply(message, tokens)
        if wrong:
            self.wrong[person.number] = wrong
            self.documents[person.number] = document

    def _judge_messages(self, person: Person, document: list[dict[str, Any]]) -> list[str]:
        wrong = []
        humans = [message["id"] for message in document if message["role"] == "human"]
        answers = [message["to"] for message in document if message["role"] == "bot"]
        failed = {message["id"] for message in document if "failed" in message}
        self.failed += len(failed)
        for id in person.acknowledged | person.said.keys():
            if humans.count(id) != 1:
                wrong.append(f"message {id} is there {humans.count(id)} times")
            if answers.count(id) != 1 and not (id in failed and not answers.count(id)):
                wrong.append(f"message {id} has {answers.count(id)} replies")
            self.lost += humans.count(id) == 0 or (answers.count(id) == 0 and id not in failed)
            self.repeated += humans.count(id) > 1 or answers.count(id) > 1
        for before, message in zip([{}, *document], document, strict=False):
            if message["role"] == "bot" and before.get("id") != message["to"]:
                wrong.append(f"reply {message['id']} does not follow its message")
        return wrong

    def _judge_reply(self, message: dict[str, Any], tokens: int) -> list[str]:
        """Every token once and in order; a stopped reply may end early, and only there."""
        self.replies += 1
        seen = stamps(message["text"])
        self.tokens += len(seen)
        stopped = message["finish_reason"] == "stopped"
        self.stopped += stopped
        wanted = whole(len(seen) if stopped else tokens)
        if seen == wanted:
            return []
        self.lost += len(set(wanted) - set(seen))
        self.repeated += len(seen) - len(set(seen))
        return [f"reply {message['id']} has the tokens {seen}"]
