"""Light, air and camera of a scene: sun, sky, haze, exposure, white balance, noise, blur."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from internimage_perception.data.street.materials import hsv

Singles = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Appearance:
    """What a picture owes to light, air and camera rather than to the things in it.

    Attributes:
        sun: unit vector towards the sun, street frame, float32 (3,).
        sun_light: of the sun on a surface that faces it, linear r, g, b.
        sky_light: from the open sky.
        horizon: colour of the sky at the horizon, and of haze.
        zenith: colour of the sky overhead.
        glow: strength of the glow around the sun.
        clouds: strength of clouds.
        cloud_scale: of the clouds.
        haze_m: distance at which haze leaves 37 % of the contrast.
        gain: exposure times white balance, r, g, b.
        gamma: exponent of the tone curve.
        vignette: loss of light at the edge of the field of view.
        blur_px: standard deviation of the lens's blur.
        noise: standard deviation of sensor noise at mid grey, of 255.
        quality: of JPEG compression, 0 for none.
    """

    sun: Singles
    sun_light: Singles
    sky_light: Singles
    horizon: Singles
    zenith: Singles
    glow: float
    clouds: float
    cloud_scale: float
    haze_m: float
    gain: Singles
    gamma: float
    vignette: float
    blur_px: float
    noise: float
    quality: int


def draw_appearance(rng: np.random.Generator) -> Appearance:
    """Draw the light, air and camera of a scene."""
    overcast = rng.random() < 0.35
    height, way = np.arcsin(rng.uniform(0.2, 0.95)), rng.uniform(0, 2 * np.pi)
    sun = np.array([np.cos(height) * np.cos(way), np.cos(height) * np.sin(way), np.sin(height)])
    warm = np.array([1.0, rng.uniform(0.8, 1.0), rng.uniform(0.6, 1.0)])
    sun_light = warm * (rng.uniform(0.0, 0.25) if overcast else rng.uniform(0.5, 1.4))
    tint = np.array([rng.uniform(0.75, 1.0), rng.uniform(0.85, 1.0), 1.0])
    sky_light = tint * (rng.uniform(0.5, 0.9) if overcast else rng.uniform(0.22, 0.55))
    if overcast or rng.random() < 0.25:
        level = rng.uniform(0.6, 1.0)
        horizon = np.array(hsv(rng.random(), rng.uniform(0, 0.1), level))
        zenith = np.array(hsv(rng.random(), rng.uniform(0, 0.12), level * rng.uniform(0.65, 1.1)))
    else:
        hue = rng.uniform(0.52, 0.62)
        zenith = np.array(hsv(hue, rng.uniform(0.2, 0.75), rng.uniform(0.4, 0.95)))
        evening = rng.random() < 0.2
        horizon = np.array(hsv(0.09 if evening else hue, rng.uniform(0.0, 0.35), rng.uniform(0.65, 1.0)))
    level = 0.95 if rng.random() < 0.75 else rng.uniform(0.45, 0.95)
    bright = float((sun_light * max(sun[2], 0.3) + sky_light).mean())
    balance = np.exp(rng.normal(0.0, 0.07, 3))
    gain = balance * level * rng.uniform(0.9, 1.7) / bright
    return Appearance(
        sun=sun.astype(np.float32),
        sun_light=sun_light.astype(np.float32),
        sky_light=sky_light.astype(np.float32),
        horizon=(horizon * bright).astype(np.float32),
        zenith=(zenith * bright).astype(np.float32),
        glow=0.0 if overcast else rng.uniform(0.2, 1.5),
        clouds=rng.uniform(0.0, 0.35) * float(rng.random() < 0.7),
        cloud_scale=rng.uniform(0.05, 0.3),
        haze_m=float(np.exp(rng.uniform(np.log(60.0), np.log(1500.0)))),
        gain=gain.astype(np.float32),
        gamma=rng.uniform(0.4, 0.55),
        vignette=rng.uniform(0.0, 0.6),
        blur_px=rng.uniform(0.0, 0.8) * float(rng.random() < 0.6),
        noise=float(np.exp(rng.uniform(np.log(0.5), np.log(9.0)))),
        quality=int(rng.integers(40, 96)) if rng.random() < 0.5 else 0,
    )
