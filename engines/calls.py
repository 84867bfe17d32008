"""What the weeks before an earnings call, and the voices in it, say about the volatility after it.

Days are numbered by `trading_days`. A call's past is the squared deviations of its last 30 daily returns from their
mean, the latest, into the close of the call's own day, first.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: What Praat says of the voice in a sentence, the columns of MAEC's features (Hz, dB, s).
VOICE = (
    "mean_pitch",
    "standard_deviation",
    "minimum_pitch",
    "maximum_pitch",
    "mean_intensity",
    "minimum_intensity",
    "maximum_intensity",
    "number_of_pulses",
    "number_of_periods",
    "mean_period",
    "standard_deviation_of_period",
    "fraction_of_unvoiced",
    "number_of_voice_breaks",
    "degree_of_voice_breaks",
    "jitter_local",
    "jitter_local_absolute",
    "jitter_rap",
    "jitter_ppq5",
    "jitter_ddp",
    "shimmer_local",
    "shimmer_local_db",
    "shimmer_apq3",
    "shimmer_apq5",
    "shimmer_apq11",
    "shimmer_dda",
    "mean_autocorrelation",
    "mean_nhr",
    "mean_hnr",
    "audio_length",
)
DAYS = 30
#: The market's level is seen in the pasts of calls of the last so many days.
REACH = 40
#: So many calls' worth of the market's mean weighs in each day's level, as few calls say little.
SHRINK = 2.0
#: The largest squares of a past, left out of its level: news that is over.
NEWS = 2
#: Earlier calls of a company count from so many days back; nearer ones are about the same quarter.
QUARTER = 14
#: Smaller squared deviations (3 bp a day) are of days without a trade worth the name.
LEAST_SQUARE = 1e-7


def trading_days(dates: npt.NDArray[np.datetime64]) -> Ints:
    """Return the number of each date, counted in days on which the New York Stock Exchange trades."""
    years = range(int(str(dates.min())[:4]) - 1, int(str(dates.max())[:4]) + 2)
    closed = [date for year in years for date in closures(year)]
    return np.busday_count("1970-01-01", dates.astype("datetime64[D]"), holidays=closed).astype(np.int64)


def closures(year: int) -> list[np.datetime64]:
    """Return the holidays of the New York Stock Exchange, by its Rule 7.2; days of mourning and storms are not known.

    Easter is by the anonymous Gregorian algorithm (Meeus, Astronomical Algorithms, 1991, chapter 8).
    """
    a, (b, c) = year % 19, divmod(year, 100)
    h = (19 * a + b - b // 4 - (b - (b + 8) // 25 + 1) // 3 + 15) % 30
    w = (32 + 2 * (b % 4) + 2 * (c // 4) - h - c % 4) % 7
    after = h + w - 7 * ((a + 11 * h + 22 * w) // 451)  # days from 22 March to Easter
    dates = [np.datetime64(f"{year}-03-20") + after]  # Good Friday
    for month, nth, weekday in (
        ("01", 2, "Mon"),
        ("02", 2, "Mon"),
        ("06", -1, "Mon"),
        ("09", 0, "Mon"),
        ("11", 3, "Thu"),
    ):
        dates.append(np.busday_offset(f"{year}-{month}", nth, roll="forward", weekmask=weekday))
    for day in ("01-01", "07-04", "12-25", *(["06-19"] if year >= 2022 else [])):
        date = np.datetime64(f"{year}-{day}")
        saturday, sunday = np.is_busday(date, weekmask="Sat"), np.is_busday(date, weekmask="Sun")
        if not (saturday and day == "01-01"):
            dates.append(date - int(saturday) + int(sunday))
    return dates


def squares_of_volatilities(log_volatility: Floats) -> Floats:
    """Return squared deviations (n, 30) from log volatilities (n, 30) of windows that end 0, 1, ... 29 days early.

    Window k has the oldest 30 - k returns, and its volatility is the root of their mean squared deviation, so that two
    neighbours differ by one return.
    """
    sums = np.exp(2 * log_volatility) * np.arange(DAYS, 0, -1)
    return np.maximum(-np.diff(sums, append=0.0), 0.0)


def squares_of_closes(closes: Floats) -> Floats:
    """Return squared deviations (n, 30) from the 31 closes (n, 31) up to the call's day."""
    returns = np.diff(closes) / closes[:, :-1]
    return np.asarray((returns - returns.mean(1, keepdims=True))[:, ::-1] ** 2)


def market_levels(day: Ints, squares: Floats) -> Floats:
    """Return the log volatility of the market (n, 30) on each day of each call's past, about its mean there.

    Only calls of the same or of earlier days are looked at: their log deviations are split into a level of the call and
    one of the day, by alternating means. The calls' own days, whose returns are about their news, are left out.
    """
    logs = _logs(squares)
    levels = np.zeros_like(logs)
    for today in np.unique(day):
        rows = np.flatnonzero((day <= today) & (day > today - REACH))
        seen = np.full((len(rows), REACH + DAYS), np.nan)  # (call, days before today)
        for row, back, log in zip(seen, today - day[rows], logs[rows], strict=True):
            row[back + 1 : back + DAYS] = log[1:]
        known = ~np.isnan(seen)
        seen[~known] = 0.0
        of_call = seen.sum(1) / np.maximum(known.sum(1), 1)
        for _ in range(6):
            of_day = ((seen - of_call[:, None]) * known).sum(0) / (known.sum(0) + SHRINK)
            of_call = ((seen - of_day) * known).sum(1) / np.maximum(known.sum(1), 1)
        levels[day == today] = of_day[:DAYS]
    return levels


def price_features(ticker: npt.NDArray[np.str_], day: Ints, squares: Floats, market: Floats, price: Floats) -> Floats:
    """Return what prices up to each call say of the company (n, 4): level, reaction, log price, habit.

    The level is its log volatility without its largest days, the ``market`` (n, 30) of `market_levels` taken out; the
    reaction that of the call's day against the days before. The habit is how far the company's levels before earlier
    calls were from this one, shrunk. NaN where there is no past.
    """
    own = np.sort(squares[:, 1:] / np.exp(2 * market[:, 1:]), axis=1)
    level = _logs(own[:, :-NEWS].mean(1))
    reaction = _logs(squares[:, 0]) - _logs(squares[:, 1:].mean(1))
    habit = np.zeros(len(day))
    for name in np.unique(ticker):
        calls = np.flatnonzero((ticker == name) & ~np.isnan(level))
        earlier = day[calls][None, :] < day[calls][:, None] - QUARTER  # (call, earlier call)
        apart = level[calls][None, :] - level[calls][:, None]
        habit[calls] = (apart * earlier).sum(1) / (earlier.sum(1) + 1.0)
    return np.column_stack([level, reaction, np.log(price), habit])


def voice_summary(sentences: Floats) -> Floats:
    """Return a call's voice (3 k + 1,) from k features of each sentence (sentence, k), NaN where one is not known.

    Mean, standard deviation and correlation with the sentence's number of each feature; the log of the count.
    """
    known = ~np.isnan(sentences)
    count = np.maximum(known.sum(0), 1)
    order = np.broadcast_to(np.arange(len(sentences), dtype=np.float64)[:, None], sentences.shape)

    def centred(values: Floats) -> tuple[Floats, Floats]:
        mean = np.where(known, values, 0.0).sum(0) / count
        return mean, np.where(known, values - mean, 0.0)

    mean, off = centred(sentences)
    _, late = centred(order)
    spread, along = np.sqrt((off**2).sum(0) / count), np.sqrt((late**2).sum(0) / count)
    trend = (off * late).sum(0) / count / np.maximum(spread * along, 1e-12)
    mean = np.where(known.any(0), mean, np.nan)
    return np.concatenate([mean, spread, trend, [np.log1p(len(sentences))]])


def _logs(squares: Floats) -> Floats:
    return np.asarray(0.5 * np.log(np.maximum(squares, LEAST_SQUARE)))
