//! Every format read back byte for byte, and every fault named with its place.

use std::io::Write;
use std::path::Path;

use super::*;

fn columns(key: &str, time: &str, data: &str) -> Columns {
    let some = |name: &str| (!name.is_empty()).then(|| name.to_owned());
    Columns { key: some(key), time: some(time), data: some(data) }
}

fn spec(path: &Path, columns: Columns) -> InputSpec {
    InputSpec { path: Some(path.to_owned()), format: None, columns, time_format: None, repeat: false }
}

fn file(suffix: &str, text: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(suffix).tempfile().unwrap();
    file.write_all(text).unwrap();
    file
}

fn read_all(spec: InputSpec) -> Result<Vec<Row>, InputError> {
    let mut rows = Rows::open(spec)?;
    let (mut found, mut row) = (Vec::new(), Row::default());
    while rows.read(&mut row)? {
        found.push(row.clone());
    }
    Ok(found)
}

fn read(suffix: &str, text: &[u8], columns: Columns) -> Result<Vec<Row>, InputError> {
    let file = file(suffix, text);
    read_all(spec(file.path(), columns))
}

fn fault(suffix: &str, text: &[u8], columns: Columns) -> (Fault, String) {
    let error = read(suffix, text, columns).unwrap_err();
    let message = error.to_string();
    (error.fault, message)
}

fn data(rows: &[Row]) -> Vec<&str> {
    rows.iter().map(|row| std::str::from_utf8(&row.data).unwrap()).collect()
}

#[test]
fn csv_rows_keep_their_exact_bytes() {
    let text = "\u{feff}id,name,note\r\n1,\"Ann, Bo\",x\r\n\r\n2,\"a \"\"q\"\"\",\"two\nlines\"\n3,c,";
    let rows = read(".csv", text.as_bytes(), columns("name", "", "")).unwrap();
    assert_eq!(data(&rows), ["1,\"Ann, Bo\",x", "2,\"a \"\"q\"\"\",\"two\nlines\"", "3,c,"]);
    let keys: Vec<_> = rows.iter().map(|row| row.key.as_slice()).collect();
    assert_eq!(keys, [&b"Ann, Bo"[..], b"a \"q\"", b"c"]);
}

#[test]
fn a_data_column_is_unpacked() {
    let rows = read(".csv", b"k,v\na,\"1,2\"\n", columns("k", "", "v")).unwrap();
    assert_eq!(data(&rows), ["1,2"]);
    let rows = read(".jsonl", b"{\"k\":\"a\",\"v\":\"x\\ny\"}\n{\"k\":\"b\",\"v\":{\"n\": 1}}", columns("k", "", "v"));
    assert_eq!(data(&rows.unwrap()), ["x\ny", "{\"n\": 1}"]);
}

#[test]
fn json_rows_keep_their_exact_bytes() {
    let first = "{ \"k\" : \"a\\u00e9\",\n  \"n\": [1, {\"z\": \"}]\"}] }";
    let second = "{\"n\":1e3,\"k\":7}";
    let array = format!(" [\n{first} ,\n\n{second}\n]\n");
    for rows in [
        read(".json", array.as_bytes(), columns("k", "", "")).unwrap(),
        read("", array.as_bytes(), columns("k", "", "")).unwrap(),
    ] {
        assert_eq!(data(&rows), [first, second]);
        assert_eq!(rows[0].key, "aé".as_bytes());
        assert_eq!(rows[1].key, b"7");
    }
    let lines = format!("{second}\n\n  {second}  \r\n");
    assert_eq!(data(&read(".json", lines.as_bytes(), columns("k", "", "")).unwrap()), [second, second]);
}

#[test]
fn an_unknown_column_lists_those_there_are() {
    for (suffix, text) in [(".csv", "a,b\n1,2\n"), (".jsonl", "{\"a\":1,\"b\":2}"), (".json", "[{\"a\":1,\"b\":2}]")] {
        let (fault, message) = fault(suffix, text.as_bytes(), columns("origin", "", ""));
        let Fault::UnknownColumn { flag, known, .. } = fault else { panic!("{message}") };
        assert_eq!((flag, known.join(",")), ("--key", "a,b".to_owned()));
        assert!(message.contains("its columns are: a, b"), "{message}");
    }
}

#[test]
fn a_fault_names_line_and_row() {
    let at = |place: Place| (place.line, place.row);
    let (found, message) = fault(".csv", b"a,b\n1,2\n\n3,4,5\n", columns("a", "", ""));
    let Fault::Width { place, fields: 3, header: 2 } = found else { panic!("{message}") };
    assert_eq!(at(place), (4, 2));

    let (found, message) = fault(".csv", b"a,b\n1,2\n3,\"four\n5,6\n7,8\n", columns("a", "", ""));
    let Fault::OpenQuote { place } = found else { panic!("{message}") };
    assert_eq!(at(place), (3, 2));

    let (found, message) = fault(".jsonl", b"{\"a\":1}\n{\"a\":}\n", columns("a", "", ""));
    let Fault::NotJson { place, .. } = found else { panic!("{message}") };
    assert_eq!(at(place), (2, 2));
    assert!(message.contains("at line 2 column 6"), "{message}");

    let (found, message) = fault(".json", b"[\n{\"a\":1},\n{\"a\":\n 1,,}]", columns("a", "", ""));
    let Fault::NotJson { place, .. } = found else { panic!("{message}") };
    assert_eq!(at(place), (3, 2));
    assert!(message.contains("at line 4 column 4"), "{message}");

    let (found, message) = fault(".jsonl", b"{\"a\":1}\n{\"b\":1}\n", columns("a", "", ""));
    let Fault::NoValue { place, .. } = found else { panic!("{message}") };
    assert_eq!(at(place), (2, 2));
    assert!(message.contains("the row has: b"), "{message}");

    let (found, message) = fault(".json", b"[{\"a\":\"x\"},{\"a\":\"\"}]", columns("a", "", ""));
    let Fault::Key { place, .. } = found else { panic!("{message}") };
    assert_eq!(at(place), (1, 2));

    let (found, message) = fault(".csv", b"a,t\n1,2001-01-01\n2,soon\n", columns("a", "t", ""));
    let Fault::Time { place, .. } = found else { panic!("{message}") };
    assert_eq!(at(place), (3, 2));
}

#[test]
fn broken_arrays_are_told_apart() {
    let none = || columns("", "", "");
    assert!(matches!(fault(".json", b"  ", none()).0, Fault::Empty));
    assert!(matches!(fault(".json", b"[]", none()).0, Fault::Empty));
    assert!(matches!(fault(".json", b"\"x\"", none()).0, Fault::NotAnArray { found: '"' }));
    assert!(matches!(fault(".json", b"[1]", none()).0, Fault::NotAnObject { found: '1', .. }));
    assert!(matches!(fault(".json", b"[{} {}]", none()).0, Fault::BrokenArray { found: Some('{'), .. }));
    assert!(matches!(fault(".json", b"[{},", none()).0, Fault::BrokenArray { found: None, .. }));
    assert!(matches!(fault(".json", b"[{},]", none()).0, Fault::BrokenArray { found: Some(','), .. }));
    assert!(matches!(fault(".json", b"[{}", none()).0, Fault::BrokenArray { found: None, .. }));
    assert!(matches!(fault(".json", b"[{\"a\":1", none()).0, Fault::NotJson { .. }));
    assert!(matches!(fault(".jsonl", b"[1]\n", none()).0, Fault::NotAnObject { found: '[', .. }));
    assert!(matches!(fault(".csv", b"", none()).0, Fault::Empty));
    assert!(matches!(fault(".csv", b"a,b\n", none()).0, Fault::Empty));
}

#[test]
fn a_row_past_the_longest_record_is_refused() {
    let mut long = b"[{\"a\":\"".to_vec();
    long.resize(ROW_BYTES_MAX + 100, b'x');
    long.extend_from_slice(b"\"}]");
    assert!(matches!(fault(".json", &long, columns("", "", "")).0, Fault::TooLong { .. }));
    assert!(matches!(fault(".jsonl", &long[1..], columns("", "", "")).0, Fault::TooLong { .. }));
    let csv = [b"a\n\"", &long[..]].concat();
    assert!(matches!(fault(".csv", &csv, columns("", "", "")).0, Fault::TooLong { .. }));
}

#[test]
fn times_are_guessed_and_never_fall() {
    for (text, format, us) in [
        ("2001-01-01T00:47:00Z", "iso8601", 978_310_020_000_000),
        ("2001-01-01 00:47", "iso8601", 978_310_020_000_000),
        ("2001-01-01T02:47+02:00", "iso8601", 978_310_020_000_000),
        ("2001/01/01 00:47", "%Y/%m/%d %H:%M", 978_310_020_000_000),
        ("2001/01/01", "%Y/%m/%d", 978_307_200_000_000),
        ("978310020.25", "unix-s", 978_310_020_250_000),
        ("978310020", "unix-s", 978_310_020_000_000),
        ("978310020000", "unix-ms", 978_310_020_000_000),
    ] {
        let guess = TimeFormat::guess(text).unwrap_or_else(|| panic!("{text}"));
        assert_eq!((guess.to_string().as_str(), guess.parse_us(text)), (format, Some(us)), "{text}");
        assert_eq!(format.parse::<TimeFormat>().unwrap(), guess);
    }
    assert_eq!(TimeFormat::guess("01/02/2003"), None, "month and day can't be told apart");

    let text = b"k,t\na,10\nb,12\nc,11\nd,9\ne,15\n";
    let file = file(".csv", text);
    let mut rows = Rows::open(spec(file.path(), columns("k", "t", ""))).unwrap();
    let (mut after, mut row) = (Vec::new(), Row::default());
    while rows.read(&mut row).unwrap() {
        after.push(row.after_us / 1_000_000);
    }
    assert_eq!(after, [0, 2, 2, 2, 5]);
    assert_eq!(rows.out_of_order(), 2);
}

#[test]
fn a_repeated_input_goes_on_in_time() {
    let file = file(".csv", b"k,t\na,10\nb,12\n");
    let mut spec = spec(file.path(), columns("k", "t", ""));
    spec.repeat = true;
    let mut rows = Rows::open(spec).unwrap();
    let (mut found, mut row) = (Vec::new(), Row::default());
    for _ in 0..5 {
        assert!(rows.read(&mut row).unwrap());
        found.push((row.key.clone(), row.after_us / 1_000_000));
    }
    let want = [("a", 0), ("b", 2), ("a", 2), ("b", 4), ("a", 4)];
    assert_eq!(found, want.map(|(key, after)| (key.as_bytes().to_vec(), after)));
}

#[test]
fn a_large_file_streams_and_repeats() {
    let mut text = b"k,t,v\n".to_vec();
    let filler = "x".repeat(1 << 19);
    let count = MEMORY_BYTES_MAX / (1 << 19) + 2;
    for i in 0..count {
        text.extend_from_slice(format!("key{i},{i},{filler}\n").as_bytes());
    }
    let file = file(".csv", &text);
    let mut spec = spec(file.path(), columns("k", "t", ""));
    spec.repeat = true;
    let mut rows = Rows::open(spec).unwrap();
    assert!(matches!(rows.source, Source::Stream(_)));
    let mut row = Row::default();
    for i in 0..count + 3 {
        assert!(rows.read(&mut row).unwrap());
        assert_eq!(row.key, format!("key{}", i % count).as_bytes());
        let passed = if i < count { i } else { count - 1 + (i - count) };
        assert_eq!(row.after_us, passed * 1_000_000);
    }
}

#[test]
fn a_missing_file_says_so() {
    let error = Rows::open(spec(Path::new("/nowhere/at/all.csv"), columns("", "", ""))).err().unwrap();
    assert!(error.to_string().starts_with("cannot open /nowhere/at/all.csv"), "{error}");
}
