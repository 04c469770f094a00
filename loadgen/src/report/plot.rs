//! Plots: latency by percentile, throughput over time, latency by rate.

use hdrhistogram::Histogram;
use plotters::coord::Shift;
use plotters::coord::ranged1d::Ranged;
use plotters::prelude::*;

const SIZE: (u32, u32) = (900, 480);
const GRID: RGBColor = RGBColor(0xe4, 0xe4, 0xe4);
const TEXT: RGBColor = RGBColor(0x33, 0x33, 0x33);

/// What a bound or a moment is drawn in.
pub(crate) const BOUND: RGBColor = RGBColor(0xd9, 0x7b, 0x1c);

/// Colours of curves, in their order.
pub(crate) const COLOURS: [RGBColor; 6] = [
    RGBColor(0x1f, 0x5f, 0xa8),
    RGBColor(0xc0, 0x3a, 0x2b),
    RGBColor(0x2e, 0x8b, 0x57),
    RGBColor(0x7d, 0x3c, 0x98),
    RGBColor(0x17, 0x8f, 0x9e),
    RGBColor(0x8a, 0x6d, 0x1d),
];

/// Points of a percentile curve at most.
const CURVE_POINTS_MAX: usize = 500;

/// So many that the logarithmic axis offers every digit of a decade, of which [`ms_label`] names three.
const Y_LABELS: usize = 60;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b, X, Y> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<X, Y>>;
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// One line of a plot.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) colour: RGBColor,
    pub(crate) points: Vec<(f64, f64)>,
}

impl Line {
    /// The percentile curve of a histogram of nanoseconds: nines against milliseconds.
    pub(crate) fn curve(name: &str, colour: RGBColor, histogram: &Histogram<u64>) -> Self {
        Self { name: name.to_owned(), colour, points: percentile_curve(histogram) }
    }

    /// A rate over time, a point in the middle of each stretch of `point_s`: seconds against megabytes a second.
    pub(crate) fn rate(name: &str, colour: RGBColor, point_s: f64, bytes_per_s: &[f64]) -> Self {
        let points = (0..).zip(bytes_per_s).map(|(at, bytes)| ((f64::from(at) + 0.5) * point_s, bytes / 1e6));
        Self { name: name.to_owned(), colour, points: points.collect() }
    }
}

/// Latency by percentile, the tail spread out. Later curves are drawn over earlier ones.
pub(crate) fn latency_plot(caption: &str, curves: Vec<Line>) -> String {
    draw(|area| {
        let points = || curves.iter().flat_map(|curve| curve.points.iter().copied());
        let nines = points().map(|(nines, _)| nines).fold(2.0, f64::max).ceil();
        let (bottom, top) = log_bounds(points().map(|(_, ms)| ms));
        let mut chart = ChartBuilder::on(area)
            .caption(caption, title())
            .margin(16)
            .margin_right(48)
            .x_label_area_size(44)
            .y_label_area_size(76)
            .build_cartesian_2d(0.0..nines, (bottom..top).log_scale())?;
        chart
            .configure_mesh()
            .x_labels(nines as usize + 1)
            .x_label_formatter(&|nines| percent_label(*nines))
            .y_labels(Y_LABELS)
            .y_label_formatter(&|ms| ms_label(*ms))
            .x_desc("share of the records")
            .y_desc("milliseconds")
            .label_style(label())
            .axis_desc_style(label())
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .axis_style(TEXT)
            .draw()?;
        draw_lines(&mut chart, &curves)?;
        draw_legend(&mut chart, SeriesLabelPosition::LowerRight)
    })
}

/// Megabytes a second over time, with the end of the warm-up if there was one.
pub(crate) fn throughput_plot(caption: &str, warmup_s: f64, lines: Vec<Line>) -> String {
    draw(|area| {
        let points = || lines.iter().flat_map(|line| line.points.iter().copied());
        let seconds = points().map(|point| point.0).fold(0.1, f64::max);
        let top = points().map(|point| point.1).fold(0.001, f64::max) * 1.1;
        let mut chart = ChartBuilder::on(area)
            .caption(caption, title())
            .margin(16)
            .x_label_area_size(44)
            .y_label_area_size(76)
            .build_cartesian_2d(0.0..seconds, 0.0..top)?;
        chart
            .configure_mesh()
            .x_label_formatter(&|seconds| short(*seconds))
            .y_label_formatter(&|mb| short(*mb))
            .x_desc("seconds")
            .y_desc("MB/s of data and keys")
            .label_style(label())
            .axis_desc_style(label())
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .axis_style(TEXT)
            .draw()?;
        let mut lines = lines.clone();
        if warmup_s > 0.0 && warmup_s < seconds {
            let points = vec![(warmup_s, 0.0), (warmup_s, top)];
            lines.insert(0, Line { name: "end of the warm-up".to_owned(), colour: BOUND, points });
        }
        draw_lines(&mut chart, &lines)?;
        draw_legend(&mut chart, SeriesLabelPosition::LowerRight)
    })
}

/// Milliseconds by thousands of records a second, both logarithmic.
pub(crate) fn rate_plot(caption: &str, lines: Vec<Line>) -> String {
    draw(|area| {
        let points = || lines.iter().flat_map(|line| line.points.iter().copied());
        let (left, right) = log_bounds(points().map(|point| point.0));
        let (bottom, top) = log_bounds(points().map(|point| point.1));
        let mut chart = ChartBuilder::on(area)
            .caption(caption, title())
            .margin(16)
            .margin_right(48)
            .x_label_area_size(44)
            .y_label_area_size(76)
            .build_cartesian_2d((left..right).log_scale(), (bottom..top).log_scale())?;
        chart
            .configure_mesh()
            .x_labels(Y_LABELS)
            .x_label_formatter(&|rate| ms_label(*rate))
            .y_labels(Y_LABELS)
            .y_label_formatter(&|ms| ms_label(*ms))
            .x_desc("thousand records a second")
            .y_desc("milliseconds")
            .label_style(label())
            .axis_desc_style(label())
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .axis_style(TEXT)
            .draw()?;
        for line in &lines {
            draw_lines(&mut chart, std::slice::from_ref(line))?;
            chart.draw_series(line.points.iter().map(|&point| Circle::new(point, 3, line.colour.filled())))?;
        }
        draw_legend(&mut chart, SeriesLabelPosition::UpperLeft)
    })
}

/// Draws lines, later ones over earlier ones.
fn draw_lines<X, Y>(chart: &mut Chart<'_, '_, X, Y>, lines: &[Line]) -> Drawn
where
    X: Ranged<ValueType = f64>,
    Y: Ranged<ValueType = f64>,
{
    for Line { name, colour, points } in lines {
        let style = colour.stroke_width(2);
        chart
            .draw_series(LineSeries::new(points.iter().copied(), style))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], style));
    }
    Ok(())
}

/// Says which line is which.
fn draw_legend<'a, X, Y>(chart: &mut Chart<'a, 'a, X, Y>, position: SeriesLabelPosition) -> Drawn
where
    X: Ranged<ValueType = f64>,
    Y: Ranged<ValueType = f64>,
{
    chart
        .configure_series_labels()
        .position(position)
        .background_style(WHITE)
        .border_style(GRID)
        .label_font(label())
        .draw()
}

/// Whole steps of a logarithmic axis around values.
fn log_bounds(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let lowest = values.clone().fold(f64::MAX, f64::min).clamp(0.001, 1e6);
    let highest = values.fold(lowest, f64::max);
    (round_down(lowest), round_up(highest))
}

fn draw(plot: impl FnOnce(&Area<'_>) -> Drawn) -> String {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let drawn = area.fill(&WHITE).and_then(|()| plot(&area)).and_then(|()| area.present());
        drawn.expect("drawing into memory does not fail");
    }
    svg
}

fn title() -> TextStyle<'static> {
    ("sans-serif", 20).into_font().color(&TEXT)
}

fn label() -> TextStyle<'static> {
    ("sans-serif", 15).into_font().color(&TEXT)
}

/// Nines (1 for 90 %, 2 for 99 %) against milliseconds.
fn percentile_curve(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    let count = histogram.len();
    if count == 0 {
        return Vec::new();
    }
    let most = (count as f64).log10().max(1.0);
    let steps = CURVE_POINTS_MAX as f64;
    (0..=CURVE_POINTS_MAX)
        .map(|step| {
            let nines = most * step as f64 / steps;
            let quantile = 1.0 - 10f64.powf(-nines);
            (nines, histogram.value_at_quantile(quantile) as f64 / 1e6)
        })
        .collect()
}

fn percent_label(nines: f64) -> String {
    match nines.round() as i32 {
        0 => "0 %".to_owned(),
        1 => "90 %".to_owned(),
        2 => "99 %".to_owned(),
        more => format!("99.{} %", "9".repeat(more as usize - 2)),
    }
}

/// Labels of a logarithmic axis: 1, 2 and 5 of each decade.
fn ms_label(ms: f64) -> String {
    let leading = ms / 10f64.powf(ms.log10().floor());
    let shown = [1.0, 2.0, 5.0, 10.0].iter().any(|digit| (leading - digit).abs() < 0.01);
    if shown { short(ms) } else { String::new() }
}

fn short(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The power of ten below a value: the axis begins there, because its marks do.
fn round_down(value: f64) -> f64 {
    10f64.powf(value.log10().floor())
}

/// The smallest of 1, 2 and 5 times a power of ten above a value.
fn round_up(value: f64) -> f64 {
    let decade = 10f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|digit| digit * decade).find(|&bound| bound > value).unwrap_or(decade * 10.0)
}
