//! The tables of protobuf fields in docs/wire, as the only knowledge of a reader of real bodies.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use bytes::Bytes;
use nodetally::ledger::{Account, Ledger};
use nodetally::metrics::sample::NodeAttributes;
use nodetally::metrics::store::{MetricStore, StoreInput, StoreOptions};
use nodetally::payload::dialect::Dialect;
use nodetally::payload::entities::Observation;
use nodetally::payload::options::EncodeOptions;
use nodetally::payload::profile::Reports;
use nodetally::payload::running_totals::Entities;
use nodetally::runtime::capture;
use nodetally::snapshot::processes::ProcessDetail;
use nodetally::snapshot::sampler::{Sampler, SamplerOptions};
use serde_json::{Map, Value, json};

/// A row of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    name: String,
    kind: String,
    repeated: bool,
    /// It is in every message.
    always: bool,
}

/// Fields by message and number.
type Fields = BTreeMap<String, BTreeMap<u64, Field>>;

/// The text of a section of a page.
fn section(page: &str, heading: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/wire/{page}.md"));
    let text = fs::read_to_string(path).unwrap();
    let section = text.split(&format!("{heading}\n")).nth(1).unwrap_or_else(|| panic!("{heading}"));
    section.split("\n#").next().unwrap().to_owned()
}

/// The rows of the table: message, number and name, type, meaning, when it is absent.
fn fields(page: &str, heading: &str) -> Fields {
    let mut fields = Fields::new();
    let mut message = String::new();
    let text = section(page, heading);
    let table = text.lines().skip_while(|line| !line.starts_with("| message | field "));
    for row in table.skip(2).take_while(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [of, field, kind, _, absent] = cells[..] else { panic!("{row}") };
        if let Some(name) = of.split('`').nth(1) {
            name.clone_into(&mut message);
        }
        let (number, name) = field.split_once(" `").unwrap_or_else(|| panic!("{row}"));
        let kind = kind.replace('`', "");
        let single = kind.strip_prefix("repeated ");
        let field = Field {
            name: name.trim_end_matches('`').to_owned(),
            kind: single.unwrap_or(&kind).to_owned(),
            repeated: single.is_some(),
            always: absent == "never",
        };
        let before =
            fields.entry(message.clone()).or_default().insert(number.parse().unwrap(), field);
        assert_eq!(before, None, "twice: {row}");
    }
    fields
}

/// A reader that knows a table and protobuf's encoding
/// (<https://protobuf.dev/programming-guides/encoding/>).
struct Reader<'a> {
    fields: &'a Fields,
    /// The fields that were there.
    seen: BTreeSet<(String, u64)>,
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let (byte, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

fn split<'b>(bytes: &mut &'b [u8], length: usize) -> &'b [u8] {
    let (first, rest) = bytes.split_at(length);
    *bytes = rest;
    first
}

fn in_camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap().to_owned();
    words.fold(first, |all, word| {
        let (initial, rest) = word.split_at(1);
        all + &initial.to_uppercase() + rest
    })
}

impl Reader<'_> {
    /// A message as protobuf's JSON form has it.
    fn message(&mut self, name: &str, mut bytes: &[u8]) -> Value {
        let rows = self.fields.get(name).unwrap_or_else(|| panic!("no message {name}"));
        let mut object = Map::new();
        while !bytes.is_empty() {
            let key = varint(&mut bytes);
            let number = key >> 3;
            let field = rows.get(&number).unwrap_or_else(|| panic!("{name} has no field {number}"));
            self.seen.insert((name.to_owned(), number));
            let values = self.values(field, key & 7, &mut bytes);
            let entry = in_camel_case(&field.name);
            if field.repeated {
                let list = object.entry(entry).or_insert_with(|| json!([]));
                list.as_array_mut().unwrap().extend(values);
            } else {
                let [value] = <[Value; 1]>::try_from(values).unwrap();
                assert_eq!(object.insert(entry, value), None, "{name}.{} twice", field.name);
            }
        }
        for field in rows.values().filter(|field| field.always) {
            let is_there = object.contains_key(&in_camel_case(&field.name));
            assert!(is_there, "{name} without {}: {object:?}", field.name);
        }
        Value::Object(object)
    }

    fn values(&mut self, field: &Field, wire: u64, bytes: &mut &[u8]) -> Vec<Value> {
        let eight = |bytes: &mut &[u8]| <[u8; 8]>::try_from(split(bytes, 8)).unwrap();
        vec![match (field.kind.as_str(), wire) {
            ("uint32" | "enum", 0) => varint(bytes).into(),
            ("bool", 0) => Value::Bool(varint(bytes) == 1),
            ("int64", 0) => varint(bytes).cast_signed().to_string().into(),
            ("double", 1) => f64::from_le_bytes(eight(bytes)).into(),
            ("fixed64", 1) => u64::from_le_bytes(eight(bytes)).to_string().into(),
            ("sfixed64", 1) => i64::from_le_bytes(eight(bytes)).to_string().into(),
            (kind, 2) => {
                let length = usize::try_from(varint(bytes)).unwrap();
                let mut within = split(bytes, length);
                match kind {
                    "string" => std::str::from_utf8(within).unwrap().into(),
                    "uint32" if field.repeated => {
                        let mut all = Vec::new();
                        while !within.is_empty() {
                            all.push(varint(&mut within).into());
                        }
                        return all;
                    }
                    message => self.message(message, within),
                }
            }
            other => panic!("{}: {other:?}", field.name),
        }]
    }

    /// Each field of the table has been there.
    fn assert_all_seen(&self) {
        for (message, rows) in self.fields {
            for number in rows.keys() {
                assert!(
                    self.seen.contains(&(message.clone(), *number)),
                    "{message} {number} is not sent"
                );
            }
        }
    }
}

/// The bodies of a captured host's sample, running totals and deltas.
fn bodies(dialect: Dialect) -> Vec<Bytes> {
    let host = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/hosts/7.2-containerd-systemd");
    let instants = capture::load(&host).unwrap();
    let mut ledger = Ledger::new(instants[0].units);
    let mut account = Account::default();
    for roots in instants {
        let at = roots.captured.clone().unwrap();
        let options = SamplerOptions {
            processes: ProcessDetail { io: true, cmdline: false },
            ..SamplerOptions::default()
        };
        let mut sampler = Sampler::open(roots, options).unwrap();
        ledger.settle(sampler.sample(&|| at.at, at.wall), &mut account);
    }
    let catalog = capture::load_catalog(&host).unwrap();
    let mut store = MetricStore::new(StoreOptions {
        node: NodeAttributes { name: "node-1".into(), in_kubernetes: true, ..Default::default() },
        processes: 5,
        keeps_intervals: true,
        ..StoreOptions::default()
    });
    let sample = store.add(&StoreInput {
        account: &account,
        catalog: &catalog,
        pod_filesystems: &BTreeMap::new(),
        node_filesystem: None,
        filesystems: &[],
        seen_by_all: None,
    });
    let view = Observation {
        account: &account,
        catalog: &catalog,
        filesystems: &BTreeMap::new(),
        node_filesystem: None,
        metrics: Some(&sample),
    };
    let Reports::Usage(encode) = dialect.profile().reports else { panic!("no samples") };
    let mut bodies = Vec::new();
    for cumulative in [true, false] {
        let options = EncodeOptions { cumulative, ..EncodeOptions::new("node-1") };
        let messages = encode(&view, &Entities::default(), &options);
        bodies.extend(messages.into_iter().map(|message| message.body));
    }
    bodies
}

fn shown(dialect: Dialect, body: &[u8]) -> Value {
    let as_json = dialect.profile().as_json.unwrap();
    serde_json::from_slice(&as_json(body).unwrap()).unwrap()
}

#[test]
fn a_reader_of_the_page_of_otlp_reads_every_body() {
    let fields = fields("otlp", "### Fields");
    let mut reader = Reader { fields: &fields, seen: BTreeSet::new() };
    let mut count = 0;
    for body in bodies(Dialect::Otlp) {
        let read = reader.message("ExportMetricsServiceRequest", &body);
        assert!(read == shown(Dialect::Otlp, &body), "not as it is shown");
        count += read["resourceMetrics"].as_array().unwrap().len();
    }
    assert!(count > 20, "{count}");
    reader.assert_all_seen();
}

#[test]
fn a_writer_of_the_page_of_otlp_answers_what_is_understood() {
    let fields = fields("otlp", "## Answer");
    let mut reader = Reader { fields: &fields, seen: BTreeSet::new() };
    // Fields 1 and 2 within field 1, by hand.
    let answer = b"\x0a\x10\x08\x03\x12\x0cout of order";
    let read = reader.message("ExportMetricsServiceResponse", answer);
    let text = section("otlp", "## Answer");
    let example = text.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(read, serde_json::from_str::<Value>(example).unwrap());
    let read_answer = Dialect::Otlp.profile().read_answer.unwrap();
    for (kind, body) in
        [("application/x-protobuf", &answer[..]), ("application/json", example.as_bytes())]
    {
        assert_eq!(read_answer(kind, body), Ok((3, "out of order".to_owned())), "{kind}");
    }
}

#[test]
fn a_reader_of_the_page_of_remote_write_reads_both_protocols() {
    let (of_2_0, of_1_0) = (
        fields("remote-write", "### Fields of protocol 2.0"),
        fields("remote-write", "### Fields of protocol 1.0"),
    );
    let mut new = Reader { fields: &of_2_0, seen: BTreeSet::new() };
    let mut old = Reader { fields: &of_1_0, seen: BTreeSet::new() };
    let profile = Dialect::RemoteWrite.profile();
    let forms = |word: &str| {
        let (_, forms) = profile.protocols.iter().find(|(name, _)| *name == word).unwrap();
        forms[0]
    };
    let unpacked = |packed: &[u8]| snap::raw::Decoder::new().decompress_vec(packed).unwrap();
    for body in bodies(Dialect::RemoteWrite) {
        let request = new.message("Request", &unpacked(&(forms("2.0").render)(&body)));
        let symbols = request["symbols"].as_array().unwrap();
        let text = |place: Option<&Value>| {
            let at = place.map_or(0, |place| place.as_u64().unwrap());
            symbols[usize::try_from(at).unwrap()].as_str().unwrap()
        };
        let mut series = Vec::new();
        for one in request["timeseries"].as_array().unwrap() {
            let labels = one["labelsRefs"].as_array().unwrap().chunks(2);
            let labels: Vec<(&str, &str)> =
                labels.map(|pair| (text(pair.first()), text(pair.get(1)))).collect();
            assert!(labels.is_sorted(), "{labels:?}");
            let mut samples = one["samples"].as_array().unwrap().clone();
            for sample in &mut samples {
                let sample = sample.as_object_mut().unwrap();
                // A number that is 0 is not on the wire.
                sample.entry("value").or_insert(json!(0.0));
            }
            let metadata = &one["metadata"];
            series.push((labels, samples, metadata));
        }
        let shown_series =
            |(labels, samples, metadata): &(Vec<(&str, &str)>, Vec<Value>, &Value)| {
                let number = |value: &Value| -> i64 { value.as_str().unwrap().parse().unwrap() };
                let samples = samples.iter().map(|sample| {
                let mut shown =
                    json!({"value": sample["value"], "timestamp": number(&sample["timestamp"])});
                if let Some(start) = sample.get("startTimestamp") {
                    shown["start_timestamp"] = number(start).into();
                }
                shown
            });
                let kind = match metadata["type"].as_u64() {
                    Some(1) => "counter",
                    Some(2) => "gauge",
                    other => panic!("{other:?}"),
                };
                let mut metadata_shown =
                    json!({"type": kind, "help": text(metadata.get("helpRef"))});
                if let Some(unit) = metadata.get("unitRef") {
                    metadata_shown["unit"] = text(Some(unit)).into();
                }
                let labels: BTreeMap<&str, &str> = labels.iter().copied().collect();
                json!({
                    "labels": labels,
                    "samples": samples.collect::<Vec<_>>(),
                    "metadata": metadata_shown,
                })
            };
        let all: Vec<Value> = series.iter().map(shown_series).collect();
        assert!(all.len() > 100, "{}", all.len());
        assert!(json!({"timeseries": all}) == shown(Dialect::RemoteWrite, &body));

        let request = old.message("WriteRequest", &unpacked(&(forms("1.0").render)(&body)));
        let of_old = request["timeseries"].as_array().unwrap();
        assert_eq!(of_old.len(), series.len());
        for (one, (labels, samples, _)) in of_old.iter().zip(&series) {
            let pairs: Vec<(&str, &str)> = one["labels"]
                .as_array()
                .unwrap()
                .iter()
                .map(|label| (label["name"].as_str().unwrap(), label["value"].as_str().unwrap()))
                .collect();
            assert_eq!(pairs, *labels);
            for (one, other) in one["samples"].as_array().unwrap().iter().zip(samples) {
                assert_eq!(one.get("value").unwrap_or(&json!(0.0)), &other["value"]);
                assert_eq!(one["timestamp"], other["timestamp"]);
            }
        }
    }
    new.assert_all_seen();
    old.assert_all_seen();
}
