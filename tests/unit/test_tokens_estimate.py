"""The estimate of tokens stays within a stated distance of the truth, on texts of many kinds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory_core.tokens.estimate import estimate_tokens
from memory_core.tokens.vocabulary import SHARED

CORPUS = {
    "english prose": (
        "The customer wrote to us on Monday because the parcel she had been waiting for had not arrived. We looked "
        "into it and found that the carrier had left it with a neighbour, who was away for the week. She was "
        "understandably annoyed, so we sent a replacement and asked the carrier to return the first one."
    ),
    "chat": (
        "hi, can you help me? my order 48213 still isn't here :( I paid for next-day delivery!!\n"
        "Sure, I'm sorry about that. Let me check... It left our warehouse on 2025-03-14 at 18:05. Is your postcode "
        "still SW1A 1AA?\nyes it is, thx"
    ),
    "german": (
        "Sehr geehrte Damen und Herren, leider ist die bestellte Waschmaschine beschädigt angekommen. Die Rückseite "
        "weist eine deutliche Delle auf, und die Verpackung war aufgerissen. Bitte teilen Sie mir mit, was zu tun ist."
    ),
    "french": (
        "Bonjour, j'ai reçu ma commande hier mais il manque deux articles sur les cinq que j'avais commandés. "
        "Pourriez-vous vérifier s'ils ont été expédiés séparément ? Je vous remercie d'avance de votre réponse."
    ),
    "spanish": (
        "Buenos días, quisiera devolver los zapatos que compré la semana pasada porque la talla no es la correcta. "
        "¿Cuánto tiempo tengo para hacerlo y quién paga los gastos de envío?"
    ),
    "russian": "Здравствуйте, я не могу войти в свой личный кабинет: после ввода пароля страница просто обновляется.",
    "chinese": "您好。我昨天下的订单到现在还没有发货、请问什么时候可以发出。如果今天不能发货、我想取消订单并申请退款。",
    "japanese": "お世話になっております。先日購入した商品が届きましたが、箱を開けたところ部品が一つ足りませんでした。",
    "arabic": "مرحبا، لم أستلم الطلب الذي دفعت ثمنه قبل أسبوعين، هل يمكنكم مساعدتي في معرفة مكانه؟",
    "hindi": "नमस्ते, मेरा ऑर्डर अभी तक नहीं पहुँचा है, कृपया बताइए कि यह कब तक पहुँचेगा और क्या मैं इसे रद्द कर सकता हूँ।",
    "python": (
        "async def acquire(self, timeout: float = 5.0) -> Lease:\n"
        '    """Wait for the lease."""\n'
        "    deadline = self._clock() + timeout\n"
        "    while (lease := await self._try_acquire()) is None:\n"
        "        if self._clock() >= deadline:\n"
        '            raise LeaseTimeout(f"not acquired within {timeout:.1f}s")\n'
        "        await asyncio.sleep(min(0.05, deadline - self._clock()))\n"
        "    return lease\n"
    ),
    "json": (
        '{"order_id":"A-48213","status":"delivered","items":[{"sku":"TS-0042-XL","quantity":2,"price":19.99},'
        '{"sku":"MUG-7","quantity":1,"price":8.5}],"shipping":{"carrier":"DHL","tracking":"JD014600003SE","eta":null}}'
    ),
    "log": (
        "2025-03-14T18:05:12.318Z INFO  http request_id=7f3c9a2e method=GET path=/v1/orders/48213 status=200 ms=9\n"
        '2025-03-14T18:05:12.402Z WARN  store.client retry=1 backoff_ms=50 error="connection reset by peer"\n'
    ),
    "markdown": (
        "## Refund policy\n\n| Plan | Days | Fee |\n| --- | ---: | ---: |\n| Basic | 14 | 5% |\n| Plus | 30 | 0% |\n\n"
        "- **Opened** items: see [the rules](https://example.com/rules#opened).\n- *Gift cards* cannot be returned.\n"
    ),
    "hexadecimal": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 e3b0c44298fc1c149afbf4c8996fb924",
    "numbers": "48213, 19.99, 2025, 0.035, 1048576, 42, 3.14159, 100000, 7, 65536, 12.5, 998877, 301, 17, 2048.25",
    "emoji": "Thanks so much!! 🎉🎉 You made my day 😊 — 10/10 service 👍🏽 ❤️",
}

LATIN_OR_TECHNICAL = ("english prose", "chat", "python", "json", "log", "markdown", "hexadecimal", "numbers")


def ratio(encoding: str, kind: str) -> float:
    """Return how the estimate compares with the truth."""
    text = CORPUS[kind]
    return estimate_tokens(text) / len(SHARED.load(encoding).result().encode_ordinary(text))


@pytest.mark.parametrize("encoding", ["o200k_base", "cl100k_base"])
@pytest.mark.parametrize("kind", LATIN_OR_TECHNICAL)
def test_english_and_technical_text_is_estimated_closely(encoding: str, kind: str) -> None:
    """Within 0.9 and 1.35 times what either encoding counts."""
    assert 0.9 <= ratio(encoding, kind) <= 1.35


@pytest.mark.parametrize("kind", sorted(CORPUS.keys() - set(LATIN_OR_TECHNICAL)))
def test_other_languages_are_estimated_within_wide_bounds(kind: str) -> None:
    """Encodings differ by more than two among themselves here; the estimate lies between or above them."""
    assert 0.9 <= ratio("o200k_base", kind) <= 2.5
    assert 0.7 <= ratio("cl100k_base", kind) <= 1.4


def test_only_the_empty_text_is_estimated_as_nothing() -> None:
    """A blank is a token, too."""
    assert (estimate_tokens(""), estimate_tokens(" ")) == (0, 1)


@given(st.text(st.characters()), st.text(st.characters()))
def test_more_text_is_never_less_tokens(text: str, more: str) -> None:
    """Any text can be estimated, halves of surrogate pairs included, and a blank between two joins no words."""
    assert estimate_tokens(f"{text} {more}") >= max(estimate_tokens(text), estimate_tokens(more))
