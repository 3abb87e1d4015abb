# Writes the numbers that the tools themselves give for data from a portable generator. Run once with Evidently and once
# with NannyML installed: python tools.py evidently > evidently.json; python tools.py nannyml > nannyml.json
import json, sys, warnings
import numpy as np, pandas as pd, scipy
from scipy import stats
warnings.filterwarnings("ignore")

def lcg(seed, n):  # x = (1664525 x + 1013904223) mod 2^32, u = (x + 0.5) / 2^32
    x, out = seed, []
    for _ in range(n):
        x = (1664525 * x + 1013904223) & 0xFFFFFFFF
        out.append((x + 0.5) / 4294967296.0)
    return np.array(out)

def norm(seed, n, mu=0, sd=1): return mu + sd * stats.norm.ppf(lcg(seed, n))
def pick(u, cum, names): return np.array([names[int(np.searchsorted(cum, x, side="right"))] for x in u])

u, v = lcg(7, 3000), lcg(8, 2000)
NUMBERS = {
    "A": (norm(1, 500), norm(2, 400, .3, 1.2)),
    "B": (norm(3, 5000), norm(4, 5000)),
    "C": (np.exp(norm(5, 20000)), np.exp(norm(6, 15000, .1, 1))),
    "D": (np.floor(u * 8), np.floor(v ** 1.2 * 9)),
    "G": (norm(21, 40), norm(22, 25, .5, 1)),
    "H": (np.floor(50 * lcg(23, 3000)), np.append(np.floor(50 * lcg(24, 700)), [900.0, -20.0])),
    "I": (norm(25, 9999), norm(26, 12000, .05, 1)),
}
LABELS = {
    "E": (pick(lcg(9, 1000), [.5, .8, .95], list("abcd")), pick(lcg(10, 800), [.45, .75, .9], list("abce"))),
    "F": (pick(lcg(11, 1000), [.7], list("01")), pick(lcg(12, 800), [.65], list("01"))),
    "J": (pick(lcg(27, 3000), [i / 30 for i in range(1, 30)], [f"{i:02}" for i in range(30)]), pick(lcg(28, 900), [(i / 30) ** 1.1 for i in range(1, 30)], [f"{i:02}" for i in range(30)])),
}
out = {"numpy": np.__version__, "scipy": scipy.__version__, "pandas": pd.__version__, "numbers": {}, "labels": {}}
tool = sys.argv[1]
if tool == "evidently":
    import evidently
    from evidently.legacy.calculations.stattests import registry
    from evidently.legacy.core import ColumnType
    import evidently.legacy.calculations.stattests as st
    out["tool"] = "evidently " + evidently.__version__
    names = {"psi": st.psi_stat_test, "kl": st.kl_div_stat_test, "js": st.jensenshannon_stat_test, "hellinger": st.hellinger_stat_test,
             "wasserstein": st.wasserstein_stat_test, "energy": st.energy_dist_test, "ks": st.ks_stat_test, "t_test": st.t_test,
             "mann_whitney": st.mann_whitney_u_stat_test, "chi_square": st.chi_stat_test, "z": st.z_stat_test}
    def scores(kind, r, c):
        o = {}
        for n, t in names.items():
            if kind not in [str(k.value) for k in t.allowed_feature_types]: continue
            try: o[n] = float(t.func(pd.Series(r), pd.Series(c), ColumnType(kind), 0.1)[0])
            except Exception as ex: o[n] = "error: " + str(ex)
        return o
    for k, (r, c) in NUMBERS.items(): out["numbers"][k] = scores("num", r, c)
    for k, (r, c) in LABELS.items(): out["labels"][k] = scores("cat", r, c)
else:
    import nannyml
    from nannyml.drift.univariate import methods as M
    from nannyml.chunk import DefaultChunker
    from nannyml.thresholds import StandardDeviationThreshold
    out["tool"] = "nannyml " + nannyml.__version__
    num = {"js": M.ContinuousJensenShannonDistance, "hellinger": M.ContinuousHellingerDistance, "ks": M.KolmogorovSmirnovStatistic, "wasserstein": M.WassersteinDistance}
    cat = {"js": M.CategoricalJensenShannonDistance, "hellinger": M.CategoricalHellingerDistance, "l_infinity": M.LInfinityDistance, "chi_square": M.Chi2Statistic}
    def scores(which, r, c):
        o = {}
        for n, cls in which.items():
            m = cls(chunker=DefaultChunker(), threshold=StandardDeviationThreshold())
            m.fit(pd.Series(r, name="x"))
            v = float(m.calculate(pd.Series(c, name="x")))
            if n == "chi_square": v = float(m._p_value)
            o[n] = v
        return o
    for k, (r, c) in NUMBERS.items(): out["numbers"][k] = scores(num, r, c)
    for k, (r, c) in LABELS.items(): out["labels"][k] = scores(cat, r, c)
json.dump(out, sys.stdout, indent=1); print()
