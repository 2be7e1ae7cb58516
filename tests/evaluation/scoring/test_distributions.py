"""Student's t and Clopper-Pearson against printed tables and closed forms."""

import pytest

from qasr_train.evaluation.scoring.distributions import exact_binomial, t_of_p, t_p_value, t_quantile


@pytest.mark.parametrize(
    ("share", "freedom", "expected"),
    [  # from the table in any textbook
        (0.975, 1, 12.706),
        (0.975, 2, 4.303),
        (0.975, 4, 2.776),
        (0.975, 9, 2.262),
        (0.975, 120, 1.980),
        (0.95, 2, 2.920),
        (0.95, 10, 1.812),
        (0.995, 5, 4.032),
        (0.025, 4, -2.776),
        (0.975, 10**6, 1.960),
        # from scipy.stats.t.ppf
        (0.975, 7.5, 2.333040),
        (0.9, 33.3, 1.307496),
        (0.9875, 360, 2.250817),
        (0.9999, 12, 5.263273),
    ],
)
def test_t_quantiles_of_the_table(share, freedom, expected):
    assert t_quantile(share, freedom) == pytest.approx(expected, abs=6e-4)


def test_t_p_values_of_closed_forms():
    assert t_p_value(1.0, 1) == pytest.approx(0.5)  # Cauchy: 1 - 2 atan(1) / pi
    assert t_p_value(2.0, 2) == pytest.approx(1 - 2 / 6**0.5)  # 1 - t / sqrt(2 + t * t)
    assert t_p_value(0.0, 7) == 1.0
    assert t_p_value(t_of_p(1e-12, 40), 40) == pytest.approx(1e-12)


def test_clopper_pearson():
    assert exact_binomial(0, 10, 0.95) == pytest.approx((0.0, 1 - 0.025**0.1))
    assert exact_binomial(10, 10, 0.95) == pytest.approx((0.025**0.1, 1.0))
    assert exact_binomial(3, 10, 0.95) == pytest.approx((0.0667, 0.6525), abs=1e-4)  # printed tables
