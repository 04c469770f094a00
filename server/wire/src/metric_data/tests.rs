//! One request in its three writings, and what none may say.

use ciborium::cbor;
use serde_json::json;

use super::*;

fn datum(name: &str, dimensions: &[(&str, &str)], statistics: [f64; 4]) -> (Series, Statistics) {
    let dimensions = dimensions.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let unit = "Count".to_owned();
    let [count, sum, min, max] = statistics;
    let series = Series { namespace: "KCL app".to_owned(), name: name.to_owned(), unit, dimensions };
    (series, Statistics { count, sum, min, max })
}

#[test]
fn all_writings_say_the_same() {
    let json = json!({ "Namespace": "KCL app", "MetricData": [
        { "MetricName": "One", "Value": 5, "Unit": "Count", "Timestamp": 1.7e9 },
        { "MetricName": "Set", "Unit": "Count", "Dimensions": [{ "Name": "B", "Value": "2" }, { "Name": "A", "Value": "1 & 1" }],
          "StatisticValues": { "SampleCount": 2, "Sum": 3.5, "Minimum": 1, "Maximum": 2.5 } },
        { "MetricName": "Many", "Unit": "Count", "Values": [1, 2.5], "Counts": [3, 2] },
    ]});
    let form = "Action=PutMetricData&Version=2010-08-01&Namespace=KCL+app\
        &MetricData.member.1.MetricName=One&MetricData.member.1.Value=5&MetricData.member.1.Unit=Count\
        &MetricData.member.10.MetricName=Many&MetricData.member.10.Values.member.1=1&MetricData.member.10.Values.member.2=2.5\
        &MetricData.member.10.Counts.member.1=3&MetricData.member.10.Counts.member.2=2&MetricData.member.10.Unit=Count\
        &MetricData.member.2.MetricName=Set&MetricData.member.2.Dimensions.member.1.Name=B&MetricData.member.2.Dimensions.member.1.Value=2\
        &MetricData.member.2.Dimensions.member.2.Name=A&MetricData.member.2.Dimensions.member.2.Value=1%20%26%201\
        &MetricData.member.2.StatisticValues.SampleCount=2&MetricData.member.2.StatisticValues.Sum=3.5\
        &MetricData.member.2.StatisticValues.Minimum=1&MetricData.member.2.StatisticValues.Maximum=2.5&MetricData.member.2.Unit=Count";
    let mut cbor = Vec::new();
    let time = ciborium::Value::Tag(1, Box::new(1.7e9.into()));
    let value = cbor!({ "Namespace" => "KCL app", "MetricData" => [
        { "MetricName" => "One", "Value" => 5, "Unit" => "Count", "Timestamp" => time },
        { "MetricName" => "Set", "Unit" => "Count",
          "Dimensions" => [{ "Name" => "B", "Value" => "2" }, { "Name" => "A", "Value" => "1 & 1" }],
          "StatisticValues" => { "SampleCount" => 2.0, "Sum" => 3.5, "Minimum" => 1.0, "Maximum" => 2.5 } },
        { "MetricName" => "Many", "Unit" => "Count", "Values" => [1.0, 2.5], "Counts" => [3.0, 2.0] },
    ]});
    ciborium::into_writer(&value.expect("it can be said"), &mut cbor).expect("it can be written");
    let expected = [
        datum("One", &[], [1.0, 5.0, 5.0, 5.0]),
        datum("Set", &[("A", "1 & 1"), ("B", "2")], [2.0, 3.5, 1.0, 2.5]),
        datum("Many", &[], [5.0, 8.0, 1.0, 2.5]),
    ];
    for (writing, body) in [
        (Writing::Json, json.to_string().into_bytes()),
        (Writing::Form, form.as_bytes().to_vec()),
        (Writing::Cbor, cbor),
    ] {
        assert_eq!(parse(writing, &body).expect("it is sound"), expected, "{writing:?}");
    }
}

#[test]
fn what_means_nothing_is_refused() {
    let one = |datum: serde_json::Value| json!({ "Namespace": "n", "MetricData": [datum] });
    let long = "x".repeat(256);
    let same = json!([{ "Name": "A", "Value": "1" }, { "Name": "A", "Value": "2" }]);
    let dimensions = vec![json!({ "Name": "A", "Value": "1" }); 31];
    for (body, words) in [
        (json!({}), "at least one"),
        (json!({ "Namespace": "n", "MetricData": [] }), "at least one"),
        (json!({ "MetricData": [{ "MetricName": "m", "Value": 1 }] }), "Namespace is missing"),
        (one(json!({ "Value": 1 })), "MetricName is missing"),
        (one(json!({ "MetricName": long, "Value": 1 })), "255"),
        (one(json!({ "MetricName": "m" })), "one of Value"),
        (one(json!({ "MetricName": "m", "Value": 1, "Values": [1] })), "one of Value"),
        (one(json!({ "MetricName": "m", "Value": "NaN" })), "no number"),
        (one(json!({ "MetricName": "m", "Value": 1e300 })), "no number"),
        (one(json!({ "MetricName": "m", "Values": [1, 2], "Counts": [1] })), "as many Counts"),
        (one(json!({ "MetricName": "m", "Values": [1], "Counts": [0] })), "counts nothing"),
        (one(json!({ "MetricName": "m", "Values": [1], "Counts": [-1] })), "below 0"),
        (one(json!({ "MetricName": "m", "Values": vec![1; 151] })), "more than 150"),
        (one(json!({ "MetricName": "m", "Value": 1, "Dimensions": dimensions })), "more than 30"),
        (one(json!({ "MetricName": "m", "Value": 1, "Dimensions": same })), "twice"),
        (one(json!({ "MetricName": "m", "Value": 1, "Dimensions": [{ "Name": "A" }] })), "value is missing"),
        (
            one(
                json!({ "MetricName": "m", "StatisticValues": { "SampleCount": 1, "Sum": 1, "Minimum": 2, "Maximum": 1 } }),
            ),
            "no sound statistics",
        ),
        (json!({ "Namespace": "n", "MetricData": vec![json!({}); 1001] }), "more than 1000"),
    ] {
        let error = parse(Writing::Json, body.to_string().as_bytes()).expect_err("it means nothing");
        assert!(error.message.contains(words), "{body}: {error}");
    }
    for form in [
        "Namespace=%zz",
        "Namespace=%ff",
        "Namespace=1&Namespace=2",
        "Namespace=1&Namespace.B=2",
        "MetricData.B.C.D.E.F.G.H.I.J.K=1",
        "Names=1",
        "=1",
    ] {
        let error = parse(Writing::Form, form.as_bytes()).expect_err("it is no form");
        assert_eq!(error.kind, ErrorKind::Serialization, "{form}");
    }
    for cbor in [&b"\xbf"[..], b"", b"\x9f\x9f\x9f", b"\xa1\x69Namespace\x5a\xff\xff\xff\xff"] {
        let error = parse(Writing::Cbor, cbor).expect_err("it is not whole");
        assert_eq!(error.kind, ErrorKind::Serialization, "{cbor:?}");
    }
}

#[test]
fn a_short_body_is_no_long_list() {
    let pairs: String = (0..=100_000).map(|number| format!("Namespace.{number}&")).collect();
    let error = parse(Writing::Form, pairs.as_bytes()).expect_err("it is too long");
    assert!(error.message.contains("too many values"), "{error}");
    let body = format!("{{\"MetricData\":[{}]}}", vec!["{}"; 2_000_000].join(","));
    let error = parse(Writing::Json, body.as_bytes()).expect_err("it is too long");
    assert!(error.message.contains("more than 1000"), "{error}");
}

/// Bug: four forms of 2.5 MB took 670 MB each. Mechanism: values were counted, and not the structures and lists that their names make,
/// ten for each. Fix: those are counted too, and names begin as the action's do.
#[test]
fn a_short_form_is_no_forest() {
    for (first, words) in [("", "none that PutMetricData has"), ("MetricData.member.", "too many structures")] {
        let form: String = (0..100_000).map(|number| format!("{first}{number}.0.0.0.0.0.0.0&")).collect();
        let error = parse(Writing::Form, form.as_bytes()).expect_err("it is too much");
        assert!(error.kind == ErrorKind::Serialization && error.message.contains(words), "{error}");
    }
    // Whatever a request may have it may have a thousand times.
    let mut form = "Action=PutMetricData&Version=2010-08-01&Namespace=n".to_owned();
    for datum in 1..=DATA_MAX {
        let mut add = |pair: &str| form += &format!("&MetricData.member.{datum}.{pair}");
        ["MetricName=m", "Unit=Count", "Values.member.1=1", "Counts.member.1=1"].iter().for_each(|pair| add(pair));
        for dimension in 1..=DIMENSIONS_MAX {
            add(&format!("Dimensions.member.{dimension}.Value=1"));
            add(&format!("Dimensions.member.{dimension}.Name={dimension}"));
        }
    }
    let data = parse(Writing::Form, form.as_bytes()).expect("it is sound");
    assert!(data.len() == DATA_MAX && data.iter().all(|(series, _)| series.dimensions.len() == DIMENSIONS_MAX));
    let entity = "EntityMetricData.member.1.MetricData.member.1.";
    let form = format!(
        "Namespace=n&StrictEntityValidation=true&EntityMetricData.member.1.Entity.KeyAttributes.entry.1.key=Type\
        &EntityMetricData.member.1.Entity.KeyAttributes.entry.1.value=Service\
        &{entity}MetricName=m&{entity}Value=1&{entity}Dimensions.member.1.Name=d&{entity}Dimensions.member.1.Value=1"
    );
    // With the deepest names that there are.
    assert_eq!(parse(Writing::Form, form.as_bytes()).expect("it is sound").len(), 1);
}
