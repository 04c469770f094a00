//! Figures of a server that serves them, that serves none, and that stops to.

use std::net::TcpListener;
use std::sync::atomic::AtomicUsize;

use super::*;

#[test]
fn prometheus_text_is_read() {
    let text = "# HELP millstream_x_total What.\n# TYPE millstream_x_total counter\nmillstream_x_total{limit=\"a } b\",q=\"\\\"\"} 3 1700000000\n\
        plain 2.5e3\n\nbroken{ 5\nnan NaN\ninf{le=\"+Inf\"} +Inf\nno_value\n";
    let figures = text::parse(text);
    let expected = [("millstream_x_total{limit=\"a } b\",q=\"\\\"\"}", 3.0), ("plain", 2500.0)];
    assert_eq!(figures, expected.map(|(name, value)| (name.to_owned(), value)).into());
}

fn samples(points: &[(f64, &str)]) -> Samples {
    let points = points.iter().map(|(at, text)| (*at, text::parse(text))).collect();
    Samples { points, ..Samples::default() }
}

#[test]
fn known_figures_are_made_of_what_is_told() {
    let mut samples = samples(&[
        (0.0, "millstream_flushes_total 0\nmillstream_written_bytes_total 0"),
        (
            1.0,
            "millstream_flushes_total{r=\"0\"} 5\nmillstream_flushes_total{r=\"1\"} 5\nmillstream_written_bytes_total 1000\nmillstream_commits_in_flight 9",
        ),
        (
            3.0,
            "millstream_flushes_total{r=\"0\"} 25\nmillstream_flushes_total{r=\"1\"} 5\nmillstream_written_bytes_total 21480\nmillstream_commits_in_flight 4",
        ),
    ]);
    samples.measured_s = (Some(1.0), Some(3.0));
    let figures = ServerFigures::new(&samples);
    let values: Vec<(&str, f64)> = figures.figures.iter().map(|figure| (figure.name.as_str(), figure.value)).collect();
    assert_eq!(values, [("a flush", 1024.0), ("commits in flight at most", 9.0)]);
    assert_eq!(figures.describe(), "1.00 KiB a flush, 9 commits in flight at most");
}

#[test]
fn what_is_kept_tells_what_changed_and_stays_small() {
    let two = samples(&[(0.0, "a 1\nb 2"), (1.0, "a 1\nb 3")]);
    let lines = String::from_utf8(two.json_lines().unwrap()).unwrap();
    assert_eq!(lines, "{\"at_s\":0.0,\"figures\":{\"a\":1.0,\"b\":2.0}}\n{\"at_s\":1.0,\"figures\":{\"b\":3.0}}\n");
    let point = |at: u32| (f64::from(at), (0..100).map(|i| (format!("figure_{i}"), f64::from(at * i))).collect());
    let many = Samples { points: (1..=599).map(point).collect(), ..Samples::default() };
    let lines = many.json_lines().unwrap();
    assert!(lines.len() <= KEPT_BYTES_MAX && lines.len() > KEPT_BYTES_MAX / 4, "{}", lines.len());
    let last = String::from_utf8(lines).unwrap();
    assert!(last.lines().last().unwrap().contains("\"at_s\":599.0"), "the last is kept");
    assert_eq!(Samples::default().json_lines(), None);
}

/// Serves `answers` one after the other, and then refuses connections.
fn serve(answers: &'static [&'static str]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    address
}

#[test]
fn a_server_is_asked_until_the_run_is_over() {
    let answers = &["HTTP/1.0 200 OK\r\n\r\nx 1\n", "HTTP/1.1 200 OK\r\nA: b\r\n\r\nx 2\n"];
    let sampler = Sampler::start(serve(answers), Instant::now(), Phase::default).unwrap();
    let samples = sampler.finish();
    assert_eq!(samples.fault(), None);
    assert!(!samples.points.is_empty() && samples.points[0].1["x"] == 1.0, "{samples:?}");
}

#[test]
fn a_server_without_figures_is_no_error() {
    let refuses = serve(&["HTTP/1.1 404 Not Found\r\n\r\n"]);
    let sampler = Sampler::start(refuses, Instant::now(), Phase::default).unwrap();
    let samples = sampler.finish();
    assert!(samples.fault().unwrap().contains("404 Not Found"), "{samples:?}");
    let told = ServerFigures::new(&samples).describe();
    assert!(told.starts_with("nothing: http://127.0.0.1:"), "{told}");
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert!(Sampler::start(closed, Instant::now(), Phase::default).unwrap().finish().fault().is_some());
}

/// Bug, found on reading: what the server said of a run was of its connecting and of the wait for its last answers too. Mechanism:
/// the warm-up counted from before the load began, and nothing told when that ended. Fix: a sample is taken where what is measured
/// begins, and one where it ends.
#[test]
fn what_is_measured_alone_is_told() {
    let answers = &[
        "HTTP/1.0 200 OK\r\n\r\nmillstream_written_bytes_total 0\nmillstream_flushes_total 0\nmillstream_intake_bytes 900\n",
        "HTTP/1.0 200 OK\r\n\r\nmillstream_written_bytes_total 100\nmillstream_flushes_total 10\nmillstream_intake_bytes 5\n",
        "HTTP/1.0 200 OK\r\n\r\nmillstream_written_bytes_total 900\nmillstream_flushes_total 20\nmillstream_intake_bytes 7\n",
        "HTTP/1.0 200 OK\r\n\r\nmillstream_written_bytes_total 901\nmillstream_flushes_total 99\nmillstream_intake_bytes 800\n",
    ];
    let looks = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&looks);
    let phase = move || match seen.fetch_add(1, Ordering::Relaxed) {
        0 => Phase::Before,
        1 => Phase::Measured,
        _ => Phase::After,
    };
    let sampler = Sampler::start(serve(answers), Instant::now(), phase).unwrap();
    while looks.load(Ordering::Relaxed) < 4 {
        thread::yield_now();
    }
    let figures = ServerFigures::new(&sampler.finish()).figures;
    let values: Vec<(&str, f64)> = figures.iter().map(|figure| (figure.name.as_str(), figure.value)).collect();
    assert_eq!(values, [("a flush", 80.0), ("waiting for a commit at most", 7.0)]);
}
