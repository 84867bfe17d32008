"""The lexicon and the typologies of words: what rings in English and Chinese, and what denies, warns or asks."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines import lexicon
from engines.lexicon import MAX_CHARS, load
from engines.typologies import enforcement_language, mis_selling, pump_coordination
from engines.typologies.enforcement_language import EnforcementConfig
from engines.typologies.mis_selling import MisSellingConfig
from engines.typologies.pump_coordination import PumpCoordinationConfig

CALLS, POSTS, NEWS = MisSellingConfig(), PumpCoordinationConfig(), EnforcementConfig()

PROMISED = [
    "It gives you nine percent, guaranteed for five years.",
    "Your money is completely and utterly safe with us.",
    "I promise a solid ten percent.",
    "Nobody here has ever lost money, you know.",
    "You have my word on it.",
    "You have to decide tonight, and let us keep it between us.",
    "I guarantee you 8% a year.",
    "We guarantee a return of twelve percent.",
    "Returns are guaranteed, Mrs Miller.",
    "The fund gives guaranteed 12% monthly returns",
    "This is completely risk-free, believe me.",
    "You can’t lose money with this one.",
    "You cant lose money with this one",
    "It is not only safe, it is guaranteed income for life.",
    "No doubt we guarantee you 10 percent.",
    "No problem, I can promise you a 15% return.",
    "We promise our oldest clients 9 percent.",
    "In five years you will have made forty percent.",
    "It has no fees and guaranteed returns.",
    "GUARANTEED PROFITS! NO RISK!",
    "Prices are bound to rise and you should sign today, it is a sure thing and the last chance.",
    "Say you are experienced, and don't tell compliance about it.",
    "这款产品保证收益百分之八。",
    "稳赚不赔，您放心。",
    "這個基金保證賺錢，穩賺不賠",
    "我们承诺年化收益10%，没有任何风险。",
    "本金绝对安全，不会亏的。",
    "您把存款都买这个，别告诉合规。",
    "这个一定会赚，今天就签吧，名额有限。",
    "不仅保本，还保收益。",
]
HARMLESS_CALLS = [
    "If somebody tells you that you cannot lose, hang up.",
    "Your capital is not safe there.",
    "I will not promise you ten percent.",
    "You have to decide now whether you want the form.",
    "Returns are not guaranteed.",
    "We can never guarantee a return.",
    "There is no guarantee of any profit.",
    "I cannot and will not guarantee you 8%.",
    "Nobody can promise you a return of 10%.",
    "I do not know whether you will make five percent or lose ten.",
    "You will earn two percent on the deposit.",
    "A guaranteed return does not exist.",
    "Guaranteed returns are a myth, as I always say.",
    "No investment is without risk.",
    "This is not a risk-free product.",
    "There is no such thing as a risk-free investment.",
    "Beware of anybody who says that returns are guaranteed.",
    "If someone promises you a guaranteed return, hang up.",
    "Is it a guaranteed return?",
    "Can you guarantee me a return of 5%?",
    "We are not allowed to guarantee returns.",
    "Our policy on guaranteed returns is strict.",
    "Your deposit insurance means guaranteed income up to the limit.",
    "We discount at the risk-free rate.",
    "Demand in Europe has never been stronger.",
    "We cannot lose sight of costs.",
    "本产品不保证收益。",
    "我们不承诺任何收益，也不保本。",
    "没有谁能保证盈利。",
    "投资有风险，不可能稳赚不赔。",
    "请警惕承诺保本高收益的骗局。",
    "监管提醒：凡是保证收益的都要小心。",
    "这个保证收益吗？",
    "稳赚不赔是不可能的。",
    "追加保证金以后收益会变化。",
    "公司规定禁止保证收益。",
    "非保本浮动收益型产品。",
]
PUMPED = [
    "let's all buy $ABC together at 16:00 sharp",
    "group buy of $ABC, no selling before 20%",
    "$ABC go go go, 5 minutes left, don't dump on us",
    "next pump at 18:00 GMT, all on the same exchange",
    "Join the pump, link below",
    "Next signal in 5 minutes, everyone in, do not sell",
    "$ABC buy now and hold, target +30%",
    "the coin is XYZ, buy buy buy",
    "Let's pump it together!! diamond hands",
    "we all buy at 3 pm, nobody sells",
    "今晚八点一起拉盘，大家准时进场",
    "10分钟后公布代码，准备好资金，赶紧上车，不要卖",
    "兄弟们冲，全部进场，明天翻倍",
    "集體買入，誰都別賣",
]
HARMLESS_POSTS = [
    "they scream 'next pump in 5 minutes'. stay away",
    "my group buys lunch together at 12:00 sharp",
    "get in before the close, they say",
    "$ABC to the moon",
    "added some $ABC on the dip",
    "I do not sell my index fund",
    "Gasoline prices at the pump fell again",
    "Beware of pump groups: they sell to you",
    "SCAM ALERT: the next pump is a trap. Everyone buy, they say.",
    "We never join the pump",
    "no next pump for me, thanks",
    "watching $ABC into the close",
    "10x revenue multiple is rich",
    "警惕拉盘群，都是骗局",
    "风险提示：有人号召一起拉盘，请勿参与。",
    "今天大盘涨停的不少",
    "我不参与一起拉盘",
]
ENFORCED = [
    "FCA opens a criminal probe into bribery at Acme",
    "Prosecutors allege that he deceived investors",
    "Jury convicts broker of wash trading",
    "Watchdog fines dealer for rigging gold prices",
    "Acme inflated its profits, SEC alleges",
    "Regulator charges trader with insider dealing",
    "SEC v. Doe: fraud charges settled, defendant fined",
    "Bank fined for manipulating a benchmark",
    "Former executive pleaded guilty to insider trading",
    "Without admitting or denying the allegations he consented to a final judgment in the Ponzi scheme",
    "Prosecutors opened an investigation into accounting irregularities",
    "Acme shares dropped as it was sued by holders who say they were defrauded",
    "证监会对某公司财务造假立案调查",
    "男子因内幕交易被判刑三年",
    "操縱市場被罰款兩億元",
    "涉嫌信息披露违规，公司被立案",
]
HARMLESS_NEWS = [
    "Parking fines pay for fraud prevention",
    "Analysts say inflated revenue forecasts weigh on shares",
    "Union accuses Acme of dragging its feet",
    "Acme denies that it is under investigation for fraud",
    "Court dismisses fraud charges against Acme",
    "Acme was not charged with any fraud",
    "Acme was cleared of insider trading",
    "Seminar on insider trading and market manipulation",
    "New software for fraud detection and anti-money laundering",
    "A novel of insider trading and fraud",
    "Acme raises full-year guidance on strong demand",
    "Shares rise ahead of the earnings announcement",
    "Acme charges customers less",
    "公司否认涉嫌财务造假",
    "法院驳回对公司欺诈的起诉",
    "未发现内幕交易，公司未被立案调查",
    "银行推出反欺诈和反洗钱系统",
    "公司举办内幕交易培训",
]


@pytest.mark.parametrize("text", PROMISED)
def test_a_promise_rings(text: str) -> None:
    assert mis_selling.score(CALLS, mis_selling.read(CALLS, text, "adviser")) >= mis_selling.SPEC.open


@pytest.mark.parametrize("text", HARMLESS_CALLS)
def test_what_is_denied_warned_of_or_asked_promises_nothing(text: str) -> None:
    assert mis_selling.score(CALLS, mis_selling.read(CALLS, text, "adviser")) < mis_selling.SPEC.close


@pytest.mark.parametrize("role", ["client", " Customer", "客户"])
def test_a_client_promises_nobody_anything(role: str) -> None:
    assert mis_selling.score(CALLS, mis_selling.read(CALLS, "I guarantee you 8% a year", role)) == 0.0


@pytest.mark.parametrize("text", PUMPED)
def test_a_call_to_a_crowd_rings(text: str) -> None:
    assert pump_coordination.score(POSTS, pump_coordination.read(POSTS, text)) >= pump_coordination.SPEC.open


@pytest.mark.parametrize("text", HARMLESS_POSTS)
def test_enthusiasm_and_warnings_coordinate_nobody(text: str) -> None:
    assert pump_coordination.score(POSTS, pump_coordination.read(POSTS, text)) < pump_coordination.SPEC.open


@pytest.mark.parametrize("text", ENFORCED)
def test_an_authority_that_acts_on_misconduct_rings(text: str) -> None:
    assert enforcement_language.score(NEWS, enforcement_language.read(NEWS, text)) >= enforcement_language.SPEC.open


@pytest.mark.parametrize("text", HARMLESS_NEWS)
def test_what_is_denied_dismissed_or_taught_is_no_enforcement(text: str) -> None:
    assert enforcement_language.score(NEWS, enforcement_language.read(NEWS, text)) < enforcement_language.SPEC.open


def test_a_text_says_why_where_and_what_would_clear_it() -> None:
    text = "Returns are guaranteed. You can’t lose money. Losses are not a sure thing."
    reading = mis_selling.read(CALLS, text, "adviser")
    why = mis_selling.explain(CALLS, reading, "transcripts")
    assert [(rule.name, rule.value, rule.threshold) for rule in why.rules] == [
        ("weight of the senses", 2.0, 1.0),
        ("guarantee", 1.0, 0.0),
        ("no_risk", 1.0, 0.0),
    ]
    assert [(at.topic, at.locator, at.excerpt) for at in why.attributions] == [
        ("transcripts", "chars 0:22", "Returns are guaranteed"),
        ("transcripts", "chars 24:44", "You can’t lose money"),
    ]
    assert why.clears == (
        "the same text without what it says of guarantee and no_risk, or its denial; not counted: certainty (negation)"
    )


def test_what_clears_a_text_clears_it() -> None:
    text = "Prices are bound to rise. Sign today. Don't tell compliance."
    reading = mis_selling.read(CALLS, text, "adviser")
    assert "without what it says of certainty or" not in mis_selling.explain(CALLS, reading, "t").clears
    left = reading._replace(hits=tuple(hit for hit in reading.hits if hit.sense not in ("certainty", "concealment")))
    assert "certainty and concealment" in mis_selling.explain(CALLS, reading, "t").clears
    assert mis_selling.score(CALLS, left) < 0.5


def test_what_is_said_again_weighs_no_more() -> None:
    once, twice = (mis_selling.read(CALLS, "I guarantee it. " * n, "adviser") for n in (1, 2))
    assert len(twice.hits) == 2 * len(once.hits)
    assert mis_selling.score(CALLS, once) == mis_selling.score(CALLS, twice) == 0.5


@given(st.text())
def test_any_text_is_read_and_hits_lie_in_it(text: str) -> None:
    for name in ("mis_selling", "pump_coordination", "enforcement_language"):
        for hit in load(name).read("İ " + text + " guaranteed return 稳赚 next pump fraud").hits:
            assert 0 <= hit.start < hit.end <= len(text) + 50


def test_places_hold_behind_a_capital_that_has_two_small_letters() -> None:
    text = "İİİ guaranteed return"
    (hit,) = load("mis_selling").read(text).hits
    assert text[hit.start : hit.end] == "guaranteed return"


def test_only_the_beginning_of_a_long_text_is_read() -> None:
    assert not load("mis_selling").read("x " * MAX_CHARS + "guaranteed return").hits


def test_a_file_that_is_no_lexicon_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lexicon.yaml"
    path.write_text("version: 2\n")
    with pytest.raises(ValueError, match=r"lexicon\.yaml is no lexicon"):
        load("mis_selling", path)
    with pytest.raises(ValueError, match="has no 'nothing'"):
        load("nothing")


def test_no_phrase_has_two_senses_and_every_void_context_is_there() -> None:
    for name in ("mis_selling", "pump_coordination", "enforcement_language"):
        senses = lexicon.contents().typologies[name].senses
        for language in ("en", "zh"):
            phrases = [phrase for sense in senses.values() for phrase in getattr(sense, language)]
            assert len(phrases) == len(set(phrases))
