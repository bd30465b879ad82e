"""Draw the ground of eight land-use classes as seen from above.

Grass, asphalt, sand and water occur in several classes, and light and color cast vary per image, so that the classes
differ in structure and not in mean color.
"""

from collections.abc import Callable, Iterator
from itertools import chain, product

import numpy as np

from overfly.training.synthetic import ground
from overfly.training.synthetic.canvas import Canvas, Color, Field, Shape, colored, mixed, rectangle, scaled
from overfly.training.synthetic.objects import boat, car, house, truck

# Least difference of crop and soil (sum of three channels): with less, the rows of a field would be lost in the noise.
_ROW_CONTRAST = 0.3

# agricultural ----------------------------------------------------------------------------------------------


def _agricultural(canvas: Canvas) -> None:
    canvas.fill(canvas.pick(ground.SOILS), 0.08)
    far = 10 * canvas.reach_m
    cuts = [canvas.between(-22, 22) if canvas.chance(share) else far for share in (0.55, 0.35)]
    bend = canvas.wiggle(160.0, canvas.between(0.0, 1.5))
    for right, above in product((-1, 1), repeat=2):
        inside = canvas.edge((canvas.u - cuts[0]) * right, 1.0) * canvas.edge((canvas.v + bend - cuts[1]) * above, 1.0)
        if inside.any():
            _crop(canvas, inside)
    for along, cut in ((canvas.u, cuts[0]), (canvas.v + bend, cuts[1])):
        _field_track(canvas, along - cut)


def _crop(canvas: Canvas, inside: Field) -> None:
    """Draw rows of plants on bare soil, with weak patches, gaps and the wheel tracks of the sprayer."""
    heading = canvas.between(-0.06, 0.06) + (np.pi / 2 if canvas.chance(0.3) else 0.0)
    across = canvas.v * np.float32(np.cos(heading)) + canvas.u * np.float32(np.sin(heading))
    across = across + canvas.wiggle(130.0, canvas.between(0.0, 0.8))
    spacing_m = canvas.between(1.1, 3.4)
    wave = np.cos(across * (2 * np.pi / spacing_m) + 0.35 * canvas.noise(2.0, octaves=2))
    vigor = canvas.noise(22.0, octaves=4)
    cover = canvas.between(-0.3, 0.5) + 0.35 * vigor
    plants = np.clip(canvas.between(1.0, 2.6) * (wave + cover) * 0.5 + 0.5, 0, 1)
    crop, soil = canvas.blend_of((*ground.GREENS, *ground.LEAVES, *ground.DRY[:2])), canvas.blend_of(ground.SOILS)
    if abs(sum(crop) - sum(soil)) < _ROW_CONTRAST:
        soil = scaled(soil, 1.4 if sum(soil) > sum(crop) else 0.65)
    tone = 1 + 0.08 * canvas.noise(1.0, octaves=2) + 0.07 * vigor
    canvas.tint(soil, inside * 0.92)
    canvas.lay(colored(tone, crop), inside * plants)
    tramline_m = canvas.between(14, 26)
    wheel = np.abs(canvas.periodic(across, 0.0, tramline_m)) - 0.9
    canvas.tint(scaled(soil, 0.9), inside * canvas.strip(wheel, 0.45) * canvas.between(0.0, 0.8))


def _field_track(canvas: Canvas, across: Field) -> None:
    """Lay the track between two fields: grass, and two wheel ruts."""
    width_m = canvas.between(2.5, 6.0)
    ragged = across + 0.35 * canvas.noise(3.0)
    canvas.tint(canvas.blend_of((*ground.GREENS, *ground.DRY)), canvas.strip(ragged, width_m, 0.5))
    rut = np.abs(across) - 0.85
    canvas.tint(canvas.pick(ground.SOILS), canvas.strip(rut + 0.1 * canvas.noise(2.0), 0.7, 0.3))


# beach -----------------------------------------------------------------------------------------------------


def _beach(canvas: Canvas) -> None:
    sand = canvas.blend_of(ground.SANDS)
    canvas.fill(sand, 0.05, 9.0)
    offset = canvas.v - canvas.between(-16, 16)
    sea_m = offset + canvas.wiggle(canvas.between(55, 120), canvas.between(1.0, 3.5))
    _dry_beach(canvas, -sea_m)
    canvas.tint(scaled(sand, 0.68), canvas.edge(sea_m + canvas.between(2.5, 6), 2.5))
    sea = ground.water(canvas, mixed(canvas.pick(ground.WATERS), (0.22, 0.42, 0.44), canvas.between(0.0, 0.6)), 0.10)
    shallow = np.exp(-np.maximum(sea_m, 0) / canvas.between(4, 14))
    canvas.lay(sea, canvas.edge(sea_m, 1.0) * (1 - 0.6 * shallow))
    for order in range(int(canvas.rng.integers(2, 5))):
        _breaker(canvas, sea_m, order)


def _breaker(canvas: Canvas, sea_m: Field, order: int) -> None:
    """Draw one line of surf: sharp towards the shore, torn and fading behind."""
    away_m = order * canvas.between(5, 8.5) + canvas.between(0.0, 1.0)
    front = sea_m - away_m + canvas.wiggle(canvas.between(25, 50), 0.9)
    tail_m = canvas.between(1.2, 4.0)
    torn = 0.75 + 0.55 * canvas.noise(2.6, octaves=4) - 0.10 * order
    breaks = np.clip(0.9 - 0.15 * order + canvas.noise(26.0, octaves=2), 0, 1)
    foam = canvas.edge(front, 0.5) * np.exp(-np.maximum(front, 0) / tail_m) * torn * breaks
    canvas.tint((0.91, 0.92, 0.92), foam * 1.25)


def _dry_beach(canvas: Canvas, inland_m: Field) -> None:
    """Fill the dry part: footprints, dune grass, and sunshades with their shadows."""
    canvas.albedo *= 1 + 0.07 * canvas.noise(1.1, octaves=2)
    if canvas.chance(0.6):
        line = inland_m - canvas.between(16, 34)
        tufts = np.clip(canvas.noise(4.0, octaves=4) * 2 + line / 4, 0, 1) * canvas.edge(line + 2, 4.0)
        tone = 1 + 0.17 * canvas.noise(2.0, octaves=3)
        canvas.lay(colored(tone, canvas.blend_of((*ground.GREENS, *ground.DRY))), tufts)
    if canvas.chance(0.5):
        canvas.stamp(_sunshades(canvas, inland_m))


def _sunshades(canvas: Canvas, inland_m: Field) -> Iterator[Shape]:
    corners = np.array([[np.cos(a), np.sin(a)] for a in np.arange(8) * np.pi / 4])
    colors: tuple[Color, ...] = ((0.75, 0.2, 0.18), (0.2, 0.35, 0.62), (0.88, 0.84, 0.74), (0.8, 0.65, 0.25))
    for place in canvas.scatter(60):
        column, row = (int(value) for value in canvas.to_pixels(place))
        visible = 0 <= column < canvas.size and 0 <= row < canvas.size
        if visible and 6.0 < inland_m[row, column] < 17.0:  # noqa: PLR2004 - meters
            yield Shape(corners * canvas.between(0.8, 1.4) + place, canvas.pick(colors), 2.0)


# denseresidential ------------------------------------------------------------------------------------------


def _denseresidential(canvas: Canvas) -> None:
    grounds = ground.grass_palette(canvas)
    canvas.fill(canvas.blend_of(grounds), 0.16, 9.0)
    canvas.tint(canvas.blend_of(ground.SOILS), np.clip(canvas.noise(7.0, octaves=4), 0, 1) * 0.8)
    block_m, first_m = canvas.between(38, 47), canvas.between(0, 40)
    streets = np.arange(first_m - 3 * block_m, canvas.reach_m + block_m, block_m)
    # The carriageway of each street is between two sidewalks.
    across = canvas.periodic(canvas.v, first_m, block_m)
    canvas.tint(canvas.pick(ground.CONCRETE), canvas.strip(np.abs(across) - 5.3, 1.3))
    canvas.lay(ground.asphalt(canvas, canvas.pick(ground.ASPHALTS)), canvas.strip(across, 8.4))
    canvas.stamp(shape for street in streets for shape in _house_rows(canvas, float(street), block_m))
    between_rows = canvas.scatter(int(canvas.between(25, 60)))
    rows = np.round((between_rows[:, 1] - first_m) / block_m - 0.5) + 0.5
    between_rows[:, 1] = rows * block_m + first_m + canvas.rng.normal(0, 2.2, size=len(rows))
    canvas.plant(between_rows, radius_m=(1.2, 3.6), palette=ground.leaf_palette(canvas))
    canvas.plant(canvas.scatter(int(canvas.between(6, 22))), radius_m=(1.0, 2.6), palette=ground.leaf_palette(canvas))


def _house_rows(canvas: Canvas, street_m: float, block_m: float) -> Iterator[Shape]:
    """Build houses and driveways on both sides of a street, and cars at the curb."""
    drive, lot_m = canvas.pick(ground.CONCRETE), canvas.between(11.5, 15.0)
    for side in (-1, 1):
        for x in np.arange(-canvas.reach_m + canvas.between(0, lot_m), canvas.reach_m, lot_m):
            if not canvas.sees((float(x), street_m + side * 10), 18.0):
                continue
            length_m, depth_m = lot_m * canvas.between(0.72, 0.88), canvas.between(8.0, 0.29 * block_m)
            y = street_m + side * (8.2 + depth_m / 2 + canvas.between(0, 1.6))
            driveway = (float(x) + canvas.between(-0.3, 0.3) * lot_m, street_m + side * 7.5)
            yield Shape(rectangle(driveway, 2.8, 6.5), scaled(drive, canvas.between(0.85, 1.05)))
            heading = 0.0 if canvas.chance(0.5) else np.pi
            yield from house(canvas, (float(x), y), heading, (length_m, depth_m))
            if canvas.chance(0.45):
                yield from car(canvas, driveway, np.pi / 2)
            if canvas.chance(0.4):
                yield from car(canvas, (float(x) + canvas.between(-4, 4), street_m + side * 3.1), heading)


# forest ----------------------------------------------------------------------------------------------------


def _forest(canvas: Canvas) -> None:
    canvas.fill(canvas.blend_of((*ground.grass_palette(canvas), *ground.SOILS)), 0.18, 6.0)
    largest_m = canvas.between(2.7, 5.2)
    density = canvas.between(1.1, 2.2)
    count = int(density * (2 * canvas.reach_m) ** 2 / (np.pi * (0.75 * largest_m) ** 2))
    canvas.plant(
        canvas.scatter(count),
        radius_m=(0.5 * largest_m, largest_m),
        palette=ground.leaf_palette(canvas),
        spread=canvas.between(0.03, 0.08),
    )


# freeway ---------------------------------------------------------------------------------------------------


def _freeway(canvas: Canvas) -> None:
    verge = ground.grass_palette(canvas)
    canvas.fill(canvas.blend_of((*verge, *ground.SOILS[:1])), 0.13, 5.0)
    lanes, lane_m = int(canvas.rng.integers(2, 5)), 3.6
    median_m = canvas.between(2.0, 5.0) if canvas.chance(0.5) else canvas.between(7, 14)
    road_m = lanes * lane_m + 4.0
    off_m = canvas.between(-8, 8)
    curvature = canvas.between(-1, 1) / 900
    across = canvas.v - off_m + np.square(canvas.u) * curvature
    surface = ground.asphalt(canvas, canvas.blend_of((*ground.ASPHALTS, ground.CONCRETE[0])))
    for side in (-1, 1):
        own = across * side - (median_m / 2 + road_m / 2)
        canvas.lay(surface, canvas.strip(own, road_m))
        _lane_markings(canvas, own, lanes, lane_m)
    if median_m < road_m / 3:
        # A narrow median is paved and has a concrete wall.
        canvas.lay(surface, canvas.strip(across, median_m + 0.6))
        canvas.tint((0.74, 0.73, 0.70), canvas.strip(across, 0.8))
        np.maximum(canvas.height_m, canvas.strip(across, 0.8), out=canvas.height_m)
    lanes_m = [median_m / 2 + 2.0 + (lane + 0.5) * lane_m for lane in range(lanes)]
    canvas.stamp(_traffic(canvas, lanes_m, off_m, curvature))
    # Shrubs and trees grow well off the road.
    places = canvas.scatter(int(canvas.between(0, 220)))
    places = places[np.abs(places[:, 1] - off_m) > median_m / 2 + road_m + 6.5]
    canvas.plant(places, radius_m=(0.6, canvas.between(1.2, 3.2)), palette=ground.leaf_palette(canvas))


def _lane_markings(canvas: Canvas, own: Field, lanes: int, lane_m: float) -> None:
    """Draw worn wheel paths, dashes between lanes, solid lines at both edges (the inner one yellow)."""
    half_m = lanes * lane_m / 2
    wear = np.cos((own + half_m) * (4 * np.pi / lane_m)) * canvas.strip(own, 2 * half_m)
    canvas.albedo *= 1 + canvas.between(0.0, 0.07) * wear
    dashes = canvas.edge(np.mod(canvas.u, 12.0) - 8.0)
    for lane in range(1, lanes):
        canvas.tint(ground.PAINT, canvas.strip(own + (half_m - lane * lane_m), 0.22) * dashes)
    canvas.tint(ground.YELLOW, canvas.strip(own + half_m, 0.25))
    canvas.tint(ground.PAINT, canvas.strip(own - half_m, 0.25))


def _traffic(canvas: Canvas, lanes_m: list[float], off_m: float, curvature: float) -> Iterator[Shape]:
    """Put vehicles in their lanes, following the bend of the road; trucks keep to the outer lane."""
    gap_m = canvas.between(14, 55)
    for side in (-1, 1):
        for lane_m in lanes_m:
            x = -canvas.reach_m + canvas.between(0, gap_m)
            while x < canvas.reach_m:
                y = side * lane_m + off_m - curvature * x * x
                heading = float(np.arctan(-2 * curvature * x)) + (np.pi if side < 0 else 0.0)
                vehicle = truck if lane_m == lanes_m[-1] and canvas.chance(0.3) else car
                if canvas.sees((x, y), 12.0):
                    yield from vehicle(canvas, (x, y + canvas.between(-0.3, 0.3)), heading)
                x += canvas.between(0.5, 1.8) * gap_m + (10 if vehicle is truck else 0)


# harbor ----------------------------------------------------------------------------------------------------


def _harbor(canvas: Canvas) -> None:
    canvas.albedo[:] = ground.water(canvas, canvas.blend_of(ground.WATERS), canvas.between(0.03, 0.10))
    longest_m = canvas.between(8.0, 15.0)
    pitch_m = 2 * longest_m + canvas.between(9, 15)
    planks = canvas.pick((*ground.CONCRETE, *ground.DRY[:2]))
    piers = np.arange(-canvas.reach_m + canvas.between(0, pitch_m), canvas.reach_m, pitch_m)
    canvas.stamp(shape for y in piers for shape in _pier(canvas, float(y), longest_m, planks))
    if canvas.chance(0.4):
        _quay(canvas)


def _pier(canvas: Canvas, y: float, longest_m: float, planks: Color) -> list[Shape]:
    """Build a floating pier with finger docks on both sides and a boat in most berths."""
    reach_m, berth_m = canvas.reach_m + 5, longest_m * canvas.between(0.40, 0.48)
    fingers, boats = [Shape(rectangle((0.0, y), 2 * reach_m, canvas.between(1.6, 2.6)), planks, 0.7)], []
    taken = canvas.between(0.6, 1.0)
    for side in (-1, 1):
        for berth, x in enumerate(np.arange(-reach_m, reach_m, berth_m)):
            if berth % 2 == 0:
                at = (float(x) - berth_m / 2, y + side * longest_m * 0.45)
                fingers.append(Shape(rectangle(at, 0.8, longest_m * 0.9), planks, 0.6))
            if canvas.sees((float(x), y), 1.5 * longest_m) and canvas.chance(taken):
                length_m = longest_m * canvas.between(0.66, 1.0)
                heading = (1 if canvas.chance(0.75) else -1) * np.pi / 2 + canvas.between(-0.04, 0.04)
                boats += boat(canvas, (float(x), y + side * (length_m / 2 + 1.8)), heading, length_m)
    return fingers + boats


def _quay(canvas: Canvas) -> None:
    """Lay solid ground at one end of the piers, with a wall and parked cars."""
    edge_m = canvas.between(0.28, 0.42) * canvas.extent_m
    land = canvas.edge(canvas.u - edge_m)
    canvas.lay(ground.asphalt(canvas, canvas.pick((*ground.ASPHALTS, *ground.CONCRETE))), land)
    canvas.tint(canvas.pick(ground.CONCRETE), canvas.strip(canvas.u - edge_m, 1.4))
    canvas.height_m *= 1 - land
    spaces = np.arange(-canvas.reach_m, canvas.reach_m, 2.8)
    cars = (car(canvas, (edge_m + 6.0, float(y)), 0.0) for y in spaces if canvas.chance(0.5))
    canvas.stamp(chain.from_iterable(cars))


# parkinglot ------------------------------------------------------------------------------------------------


def _parkinglot(canvas: Canvas) -> None:
    canvas.albedo[:] = ground.asphalt(canvas, canvas.blend_of(ground.ASPHALTS))
    stall_m, depth_m = canvas.between(2.5, 2.9), canvas.between(5.0, 5.6)
    pitch_m = 2 * depth_m + canvas.between(5.5, 7.5)
    taken, line = canvas.between(0.4, 1.0), canvas.pick((ground.PAINT, ground.PAINT, ground.YELLOW))
    slant = canvas.between(-0.5, 0.5) if canvas.chance(0.3) else 0.0
    islands = canvas.chance(0.5)
    shapes: list[Shape] = []
    trees: list[tuple[float, float]] = []
    first_m = -canvas.reach_m - canvas.between(0, pitch_m)
    _stall_lines(canvas, canvas.periodic(canvas.v, first_m, pitch_m), (stall_m, depth_m), slant, line)
    for y in np.arange(first_m, canvas.reach_m + pitch_m, pitch_m):
        shapes += _parked_cars(canvas, float(y), (stall_m, depth_m), slant, taken)
        if islands:
            trees += [(float(x), float(y)) for x in canvas.rng.uniform(-canvas.reach_m, canvas.reach_m, size=4)]
    canvas.stamp(shapes)
    if trees:
        canvas.plant(np.array(trees), radius_m=(1.0, 2.4), palette=ground.leaf_palette(canvas))


def _stall_lines(canvas: Canvas, across: Field, stall_m: tuple[float, float], slant: float, line: Color) -> None:
    """Paint the lines of the double rows, and the spine between the two rows of each."""
    width_m, depth_m = stall_m
    position = canvas.u - np.abs(across) * np.float32(np.tan(slant))
    between_stalls = canvas.strip(canvas.periodic(position, 0.0, width_m), 0.16)
    marks = np.maximum(between_stalls * canvas.strip(across, 2 * depth_m), canvas.strip(across, 0.16))
    canvas.tint(line, marks * 0.9)


def _parked_cars(canvas: Canvas, y: float, stall_m: tuple[float, float], slant: float, taken: float) -> Iterator[Shape]:
    """Park cars in one double row, nose in or nose out."""
    width_m, depth_m = stall_m
    first = (np.floor(-canvas.reach_m / width_m) + 0.5) * width_m
    for side in (-1, 1):
        for x in np.arange(first, canvas.reach_m, width_m):
            if canvas.sees((float(x), y), 9.0) and canvas.chance(taken):
                away_m = depth_m / 2 + canvas.between(-0.3, 0.3)
                place = (float(x) + away_m * np.tan(slant) + canvas.between(-0.2, 0.2), y + side * away_m)
                nose = side * (np.pi / 2 - slant) + (np.pi if canvas.chance(0.4) else 0.0)
                yield from car(canvas, place, nose + canvas.between(-0.03, 0.03))


# river -----------------------------------------------------------------------------------------------------


def _river(canvas: Canvas) -> None:
    canvas.fill(canvas.blend_of((*ground.grass_palette(canvas), *ground.SOILS[:2])), 0.16, 10.0)
    middle = canvas.v - canvas.between(-9, 9)
    middle = middle + canvas.wiggle(canvas.between(70, 150), canvas.between(3, 11))
    half_m = canvas.between(5.5, 15.0) + canvas.wiggle(45.0, 1.1)
    inside_m = half_m - np.abs(middle) + 0.35 * canvas.noise(4.0)
    bank_m = canvas.between(0.8, 4.5)
    canvas.tint(canvas.blend_of((*ground.SANDS, *ground.SOILS)), canvas.edge(inside_m + bank_m, 1.5))
    color = canvas.blend_of(ground.WATERS)
    shallow = 0.45 * np.exp(-np.maximum(inside_m, 0) / 1.8)
    canvas.lay(ground.water(canvas, color, canvas.between(0.02, 0.07)), canvas.edge(inside_m, 0.6) * (1 - shallow))
    places = canvas.scatter(int(canvas.between(90, 750)))
    largest_m = canvas.between(2.0, 4.6)
    # Points outside the image take the nearest pixel's value.
    columns, rows = np.clip(canvas.to_pixels(places).astype(np.int64), 0, canvas.size - 1).T
    dry = -inside_m[rows, columns] > bank_m * canvas.between(0.2, 1.0)
    canvas.plant(places[dry], radius_m=(0.45 * largest_m, largest_m), palette=ground.leaf_palette(canvas))


SCENES: dict[str, Callable[[Canvas], None]] = {
    "agricultural": _agricultural,
    "beach": _beach,
    "denseresidential": _denseresidential,
    "forest": _forest,
    "freeway": _freeway,
    "harbor": _harbor,
    "parkinglot": _parkinglot,
    "river": _river,
}
"""The function that draws each class on a blank canvas, by class name, in alphabetical order."""
