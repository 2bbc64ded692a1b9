from __future__ import annotations

from grokray.tasks.primes import is_prime, next_prime, previous_prime


def test_primes_below_two_hundred_are_those_of_the_sieve() -> None:
    sieve = set(range(2, 200))
    for divisor in range(2, 200):
        sieve -= set(range(2 * divisor, 200, divisor))
    assert {number for number in range(-3, 200) if is_prime(number)} == sieve


def test_neighbouring_primes() -> None:
    assert [next_prime(n) for n in (-1, 2, 97, 98, 128)] == [2, 2, 97, 101, 131]
    assert [previous_prime(n) for n in (98, 97, 2, 1)] == [97, 97, 2, None]
