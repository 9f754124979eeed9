//! What is written is read again, and what is forged is refused.

use std::io;

use bytes::Bytes;
use parquet::file::metadata::{ParquetMetaDataReader, ParquetMetaDataWriter};

use super::*;

const FIELDS: [ParquetField; 8] = {
    const fn field(name: &'static str, column_type: ColumnType, repeats: bool) -> ParquetField {
        ParquetField { name, column_type, repeats }
    }
    [
        field("time", ColumnType::Time, false),
        field("integer", ColumnType::U64, false),
        field("repeated", ColumnType::U64, true),
        field("small", ColumnType::U32, true),
        field("number", ColumnType::F64, false),
        field("truth", ColumnType::Bool, false),
        field("text", ColumnType::Text, false),
        field("list", ColumnType::Texts, false),
    ]
};

/// Columns of these texts, in lists of so many, and of the numbers that they begin with.
fn columns(texts: &[Option<String>], in_list: usize) -> Vec<ColumnValues> {
    let mut columns: Vec<ColumnValues> =
        FIELDS.iter().map(|field| ColumnValues::new(field.column_type)).collect();
    for (row, text) in texts.iter().enumerate() {
        let text = text.as_deref();
        let number: Option<u64> =
            text.and_then(|text| text.split(' ').next()).and_then(|number| number.parse().ok());
        let in_row = row % (in_list + 2);
        let list = texts[row..].iter().flatten().map(String::as_str).take(in_row);
        for column in &mut columns {
            match column {
                ColumnValues::Time(values) => values.push(number.map(u64::cast_signed)),
                ColumnValues::U64(values) => values.push(number),
                ColumnValues::U32(values) => values.push(number.map(|number| number as u32)),
                ColumnValues::F64(values) => values.push(number.map(|number| number as f64)),
                ColumnValues::Bool(values) => values.push(number.map(|number| number % 2 == 0)),
                ColumnValues::Text(values) => values.push(text),
                ColumnValues::Texts(values) => {
                    values.push((in_row <= in_list).then(|| list.clone()));
                }
            }
        }
    }
    columns
}

const BOUNDS: ReadBounds = ReadBounds { rows: 0, texts: 1 << 20, bytes: 64 << 20 };

fn read_back(columns: &[ColumnValues], rows: usize) -> io::Result<Vec<ColumnValues>> {
    let file = write_single_group(Vec::new(), &FIELDS, columns.to_vec())?;
    read(file, &FIELDS, ReadBounds { rows, ..BOUNDS })
}

fn numbered(rows: u64) -> Vec<Option<String>> {
    let text = |row: u64| format!("{} of {row} {}", row / 3, "x".repeat(40));
    (0..rows).map(|row| (row % 7 != 0).then(|| text(row))).collect()
}

#[test]
fn values_are_read_as_they_were_written() {
    let extremes = [u64::MAX, 0, 1 << 63, (1 << 63) - 1, 1, u64::MAX - 1, 42, 42, 42];
    let texts: Vec<Option<String>> = { extremes.iter().map(|number| Some(number.to_string())) }
        .chain([None, Some(String::new()), Some("7 ä\u{0}\r\n\u{202e}".into()), None])
        .collect();
    let written = columns(&texts, 3);
    assert_eq!(read_back(&written, texts.len()).unwrap(), written);
}

#[test]
fn columns_of_nothing_and_of_one_value_are_files_too() {
    for texts in [vec![None; 5], vec![Some("1".to_owned()); 300], vec![Some(String::new())]] {
        let written = columns(&texts, 2);
        assert_eq!(read_back(&written, texts.len()).unwrap(), written);
    }
}

#[test]
fn long_columns_are_compressed_and_read_as_they_were_written() {
    // More texts that differ than two bytes can number, in many pages.
    let texts = numbered(70_000);
    let written = columns(&texts, 3);
    let file = write_single_group(Vec::new(), &FIELDS, written.clone()).unwrap();
    let plain: usize = texts.iter().flatten().map(String::len).sum();
    assert!(file.len() < plain, "{} of {plain}, and each text is there thrice", file.len());
    let again = write_single_group(Vec::new(), &FIELDS, written.clone()).unwrap();
    assert!(file == again, "the same values are the same bytes");
    assert!(read(file, &FIELDS, ReadBounds { rows: 70_000, ..BOUNDS }).unwrap() == written);
}

#[test]
fn a_file_has_as_many_row_groups_as_were_written() {
    let mut file = ParquetFile::new(Vec::new(), &FIELDS).unwrap();
    for rows in [9, 4] {
        file.write_row_group(columns(&numbered(rows), 2)).unwrap();
    }
    let file = bytes::Bytes::from(file.finish().unwrap());
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&file).unwrap();
    let rows: Vec<i64> = metadata.row_groups().iter().map(|group| group.num_rows()).collect();
    assert_eq!(rows, [9, 4]);
    let created_by = metadata.file_metadata().created_by().unwrap();
    assert!(created_by.starts_with("psr-forensics version "), "{created_by}");
    let several = read(file.to_vec(), &FIELDS, ReadBounds { rows: 13, ..BOUNDS });
    assert!(several.is_err(), "only files of one row group are read");
}

#[test]
fn columns_that_are_not_equally_long_are_neither_written_nor_read() {
    for short in 0..FIELDS.len() {
        let mut written = columns(&numbered(5), 2);
        written[short] = columns(&numbered(4), 2).swap_remove(short);
        assert!(read_back(&written, 5).is_err(), "{}", FIELDS[short].name);
    }
    assert!(read_back(&columns(&numbered(5), 2), 6).is_err());
    assert!(read_back(&columns(&numbered(5), 2), 4).is_err());
}

/// A file of these columns, one of which is that of another file.
fn with_column_of(columns: Vec<ColumnValues>, index: usize, other: Vec<ColumnValues>) -> Vec<u8> {
    let whole = |columns| {
        let file = Bytes::from(write_single_group(Vec::new(), &FIELDS, columns).unwrap());
        let metadata = ParquetMetaDataReader::new().parse_and_finish(&file).unwrap();
        (file, metadata)
    };
    let ((mut file, metadata), (other, of_other)) = (whole(columns), whole(other));
    let start = file.len() as i64;
    let column = of_other.row_group(0).column(index);
    let column = { column.clone().into_builder() }
        .set_data_page_offset(column.data_page_offset() + start)
        .set_dictionary_page_offset(column.dictionary_page_offset().map(|offset| offset + start))
        .build()
        .unwrap();
    let mut group = metadata.row_group(0).clone().into_builder();
    let mut columns = group.take_columns();
    columns[index] = column;
    let group = group.set_column_metadata(columns).build().unwrap();
    let metadata = metadata.into_builder().set_row_groups(vec![group]).build();
    file = [file, other].concat().into();
    let mut forged = file.to_vec();
    ParquetMetaDataWriter::new(&mut forged, &metadata).finish().unwrap();
    forged
}

#[test]
fn a_forged_file_whose_columns_are_not_equally_long_is_refused() {
    let columns = |rows: u64| columns(&numbered(rows), 2);
    let bounds = ReadBounds { rows: 5, ..BOUNDS };
    for (index, field) in FIELDS.iter().enumerate() {
        let forged = |rows| read(with_column_of(columns(5), index, columns(rows)), &FIELDS, bounds);
        assert_eq!(forged(5).unwrap(), columns(5));
        for rows in [4, 6] {
            assert!(forged(rows).is_err(), "{} of {rows} rows", field.name);
        }
    }
}

#[test]
fn columns_of_other_types_and_missing_columns_are_refused() {
    let file = write_single_group(Vec::new(), &FIELDS, columns(&numbered(5), 2)).unwrap();
    let read =
        |fields: &[ParquetField]| read(file.clone(), fields, ReadBounds { rows: 5, ..BOUNDS });
    assert_eq!(read(&FIELDS[3..5]).unwrap().len(), 2, "columns that nobody asks for are no matter");
    for field in FIELDS {
        for other in FIELDS.iter().filter(|other| other.column_type != field.column_type) {
            let wrong = ParquetField { column_type: other.column_type, ..field };
            assert!(read(&[wrong]).is_err(), "{wrong:?}");
        }
    }
    let missing = ParquetField { name: "missing", ..FIELDS[0] };
    assert!(read(&[missing]).is_err());
}

#[test]
fn a_file_with_any_byte_changed_or_cut_off_is_read_or_refused() {
    let rows = 12;
    let file = write_single_group(Vec::new(), &FIELDS, columns(&numbered(rows), 3)).unwrap();
    let bounds = ReadBounds { rows: rows as usize, texts: 1 << 10, bytes: 1 << 16 };
    for place in 0..file.len() {
        for change in [0x01, 0x80, 0xff] {
            let mut forged = file.clone();
            forged[place] ^= change;
            // Whatever comes of it, it comes back.
            let _ = read(forged, &FIELDS, bounds);
        }
        assert!(read(file[..place].to_vec(), &FIELDS, bounds).is_err(), "cut at {place}");
    }
}

#[test]
fn small_files_that_would_fill_the_memory_are_refused() {
    let refused = |column_type: ColumnType, fill: &dyn Fn(&mut ColumnValues)| {
        let field = ParquetField { name: "bomb", column_type, repeats: false };
        let mut column = ColumnValues::new(column_type);
        fill(&mut column);
        let mut file = ParquetFile::new(Vec::new(), &[field]).unwrap();
        file.write_row_group(vec![column]).unwrap();
        let file = file.finish().unwrap();
        assert!(file.len() < 1 << 14, "{}", file.len());
        let enough = ReadBounds { rows: 1000, ..BOUNDS };
        read(file.clone(), &[field], enough).unwrap();
        let little = ReadBounds { rows: 1000, texts: 1 << 10, bytes: 1 << 20 };
        read(file, &[field], little).unwrap_err().to_string()
    };
    let long = "x".repeat(2 << 20);
    let short = "x".repeat(2 << 10);
    let page = refused(ColumnType::Text, &|column| {
        let ColumnValues::Text(texts) = column else { unreachable!() };
        (0..1000).for_each(|row| texts.push((row == 0).then_some(&long)));
    });
    assert!(page.contains("pages are longer"), "{page}");
    let repeated = refused(ColumnType::Text, &|column| {
        let ColumnValues::Text(texts) = column else { unreachable!() };
        (0..1000).for_each(|_| texts.push(Some(&short)));
    });
    assert!(repeated.contains("more text"), "{repeated}");
    let many = refused(ColumnType::Texts, &|column| {
        let ColumnValues::Texts(lists) = column else { unreachable!() };
        (0..1000).for_each(|_| lists.push(Some(["", "", ""])));
    });
    assert!(many.contains("more values"), "{many}");
}
