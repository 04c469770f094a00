//! Two plots: latency by percentile, and throughput over time.

use hdrhistogram::Histogram;
use plotters::coord::Shift;
use plotters::prelude::*;

use super::RunReport;
use crate::recorder::{Recorder, SLOT_NS};

const SIZE: (u32, u32) = (900, 480);
const LATENCY: RGBColor = RGBColor(0x1f, 0x5f, 0xa8);
const SERVICE: RGBColor = RGBColor(0xd9, 0x7b, 0x1c);
const GRID: RGBColor = RGBColor(0xe4, 0xe4, 0xe4);
const TEXT: RGBColor = RGBColor(0x33, 0x33, 0x33);

/// Points of a percentile curve at most.
const CURVE_POINTS_MAX: usize = 500;

/// So many that the logarithmic axis offers every digit of a decade, of which [`ms_label`] names three.
const Y_LABELS: usize = 60;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// Latency and service time by percentile, the tail spread out.
pub(super) fn latency_plot(report: &RunReport, recorder: &Recorder) -> String {
    draw(|area| {
        // In a closed loop the two are the same, and the latency hides the other.
        let curves = [
            ("service time, from the submission", SERVICE, percentile_curve(recorder.service())),
            ("latency, from the intended send time", LATENCY, percentile_curve(recorder.latency())),
        ];
        let points = || curves.iter().flat_map(|(_, _, curve)| curve.iter().copied());
        let nines = points().map(|(nines, _)| nines).fold(2.0, f64::max).ceil();
        let lowest = points().map(|(_, ms)| ms).fold(f64::MAX, f64::min).clamp(0.001, 1e6);
        let highest = points().map(|(_, ms)| ms).fold(lowest, f64::max);
        let (bottom, top) = (round_down(lowest), round_up(highest));
        let mut chart = ChartBuilder::on(area)
            .caption(format!("Latency by percentile: {}", report.what), title())
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
        for (name, colour, curve) in curves {
            chart
                .draw_series(LineSeries::new(curve, colour.stroke_width(2)))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2)));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE)
            .border_style(GRID)
            .label_font(label())
            .draw()
    })
}

/// Megabytes a second over time, with the end of the warm-up.
pub(super) fn throughput_plot(report: &RunReport, recorder: &Recorder) -> String {
    draw(|area| {
        let throughput = &report.throughput;
        let points: Vec<(f64, f64)> = throughput
            .bytes_per_s
            .iter()
            .enumerate()
            .map(|(at, bytes)| ((at as f64 + 0.5) * throughput.point_s, bytes / 1e6))
            .collect();
        let seconds = (points.len() as f64 * throughput.point_s).max(SLOT_NS as f64 / 1e9);
        let top = points.iter().map(|point| point.1).fold(0.001, f64::max) * 1.1;
        let mut chart = ChartBuilder::on(area)
            .caption(format!("Throughput over time: {}", report.what), title())
            .margin(16)
            .x_label_area_size(44)
            .y_label_area_size(76)
            .build_cartesian_2d(0.0..seconds, 0.0..top)?;
        chart
            .configure_mesh()
            .x_label_formatter(&|seconds| short(*seconds))
            .y_label_formatter(&|mb| short(*mb))
            .x_desc(format!("seconds, a point each {} ms", (throughput.point_s * 1e3).round()))
            .y_desc("MB/s acknowledged")
            .label_style(label())
            .axis_desc_style(label())
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .axis_style(TEXT)
            .draw()?;
        let warmup_s = recorder.warmup_ns() as f64 / 1e9;
        if warmup_s > 0.0 && warmup_s < seconds {
            let ends = [(warmup_s, 0.0), (warmup_s, top)];
            chart
                .draw_series(LineSeries::new(ends, SERVICE.stroke_width(1)))?
                .label("end of the warm-up")
                .legend(|(x, y)| PathElement::new([(x, y), (x + 20, y)], SERVICE.stroke_width(1)));
        }
        chart
            .draw_series(LineSeries::new(points, LATENCY.stroke_width(2)))?
            .label("data and keys")
            .legend(|(x, y)| PathElement::new([(x, y), (x + 20, y)], LATENCY.stroke_width(2)));
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE)
            .border_style(GRID)
            .label_font(label())
            .draw()
    })
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
