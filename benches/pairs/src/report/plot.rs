//! A plot of one measure: every pair, its order, the median and the bound.

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::measure::Measured;
use crate::pair::Part;
use crate::units::show;

const SIZE: (u32, u32) = (900, 420);
const FIRST_A: RGBColor = RGBColor(0x1f, 0x5f, 0xa8);
const FIRST_B: RGBColor = RGBColor(0x5a, 0xa0, 0x3c);
const BOUND: RGBColor = RGBColor(0xc0, 0x39, 0x2b);
const GRID: RGBColor = RGBColor(0xe4, 0xe4, 0xe4);
const TEXT: RGBColor = RGBColor(0x33, 0x33, 0x33);

type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// The plot as SVG.
pub(super) fn plot(part: &Part, measured: &Measured) -> String {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let drawn = area.fill(&WHITE).and_then(|()| draw(&area, part, measured)).and_then(|()| area.present());
        drawn.expect("drawing into memory does not fail");
    }
    svg
}

fn draw(area: &DrawingArea<SVGBackend<'_>, Shift>, part: &Part, measured: &Measured) -> Drawn {
    let count = measured.values.len() as f64;
    let bound = measured.measure.bound.value();
    let shown = measured.values.iter().copied().filter(|value| value.is_finite());
    let highest = shown.clone().fold(bound.unwrap_or(0.0), f64::max).max(0.0) * 1.2;
    let lowest = shown.fold(0.0, f64::min) * 1.2;
    let mut chart = ChartBuilder::on(area)
        .caption(format!("{}: {}", part.title, measured.measure.title), style(18))
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(0.5..count + 0.5, lowest..highest)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(measured.values.len().min(24))
        .x_label_formatter(&|x| if x.fract().abs() < 0.01 { format!("{x:.0}") } else { String::new() })
        .y_label_formatter(&|y| show(*y))
        .x_desc("pair")
        .label_style(style(15))
        .axis_desc_style(style(15))
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .axis_style(TEXT)
        .draw()?;
    let bound = bound.map(|bound| (format!("to reach: {}", measured.measure.bound.text()), bound, BOUND));
    let median = (format!("median {}", show(measured.median)), measured.median, TEXT);
    for (name, value, colour) in bound.into_iter().chain([median]) {
        let ends = [(0.5, value), (count + 0.5, value)];
        chart
            .draw_series(LineSeries::new(ends, colour.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2)));
    }
    for (order, name, colour) in [("AB", part.name_a, FIRST_A), ("BA", part.name_b, FIRST_B)] {
        let pairs = part.pairs.iter().zip(&measured.values).enumerate();
        let points: Vec<_> = pairs
            .filter(|(_, (pair, value))| pair.order == order && value.is_finite())
            .map(|(at, (pair, value))| (at as f64 + 1.0, *value, pair.is_steady()))
            .collect();
        if points.is_empty() {
            continue;
        }
        chart
            .draw_series(points.into_iter().map(|(x, y, steady)| {
                // A hollow one began on an unsteady disk.
                let fill = if steady { colour.filled() } else { colour.stroke_width(2) };
                Circle::new((x, y), 6, fill)
            }))?
            .label(format!("{name} first (hollow: disk not steady)"))
            .legend(move |(x, y)| Circle::new((x + 10, y), 5, colour.filled()));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE)
        .border_style(GRID)
        .label_font(style(15))
        .draw()
}

fn style(size: u32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&TEXT)
}
