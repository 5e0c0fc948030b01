"Drawings for the tests: ten digits in several hands, moved, slanted and shaken from fixed seeds, and scribbles."
import numpy as np

HANDS = {  # more ways to write a digit than the page offers; points of a pen, 0..1 over the sheet
    0: [[[.5, .1], [.2, .3], [.25, .8], [.5, .92], [.8, .75], [.78, .25], [.55, .1], [.45, .12]]],
    1: [[[.35, .35], [.55, .12], [.55, .12], [.55, .5], [.55, .88]]],
    2: [[[.25, .3], [.4, .08], [.75, .15], [.7, .5], [.35, .8], [.22, .82], [.25, .68], [.4, .72], [.8, .9]]],
    3: [[[.25, .14], [.7, .14], [.7, .14], [.48, .42], [.48, .42], [.8, .45], [.78, .85], [.5, .95], [.22, .82]]],
    4: [[[.55, .1], [.4, .35], [.2, .62], [.2, .62], [.5, .62], [.8, .6]], [[.6, .35], [.58, .6], [.55, .92]]],
    5: [[[.32, .16], [.3, .3], [.28, .45], [.28, .45], [.6, .35], [.8, .6], [.65, .9], [.22, .85]], [[.32, .16], [.5, .15], [.74, .14]]],
    6: [[[.6, .08], [.3, .4], [.22, .75], [.45, .95], [.75, .8], [.65, .55], [.4, .58], [.26, .75]]],
    7: [[[.22, .15], [.5, .16], [.78, .14], [.78, .14], [.6, .4], [.4, .9]], [[.38, .5], [.5, .5], [.72, .48]]],
    8: [[[.5, .5], [.25, .35], [.4, .08], [.68, .12], [.7, .38], [.5, .5], [.25, .65], [.28, .92], [.6, .95], [.78, .72], [.5, .5]]],
    9: [[[.72, .3], [.6, .1], [.3, .15], [.28, .45], [.6, .5], [.74, .2], [.74, .2], [.72, .55], [.7, .92]]],
}


def varied(strokes, rng, strength=1.):
    "`strokes` shaken, stretched, slanted, turned, scaled and moved, within a sheet of 0..1"
    angle, slant = rng.normal(0, .08*strength), rng.uniform(-.25, .25)*strength
    scale = np.array([rng.uniform(.8, 1.1), 1])*rng.uniform(.6, 1.1)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shear = np.array([[1, -slant], [0, 1]])
    shift = .5+rng.uniform(-.08, .08, 2)*strength
    def move(stroke):
        points = np.asarray(stroke)-.5+rng.normal(0, .012*strength, (len(stroke), 2))
        return ((points*scale)@shear.T@turn.T+shift).clip(.03, .97).round(4).tolist()
    return [move(o) for o in strokes]


def scribble(rng):
    "A pen that runs about over most of the sheet"
    return [rng.uniform(.05, .95, (rng.integers(12, 30), 2)).round(4).tolist()]


def drawings(samples, n, seed=0):
    "`n` drawings as pairs of a digit (None for a scribble) and strokes: both hands of each digit in turn, every tenth a scribble"
    rng, res = np.random.default_rng(seed), []
    for i in range(n):
        d = i//2%10
        hand = samples[str(d)] if i%2 else HANDS[d]
        res.append((None, scribble(rng)) if i%10==9 else (d, varied(hand, rng)))
    return res
