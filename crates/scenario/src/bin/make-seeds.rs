//! Writes the seeds of all fuzz targets below a folder: `make-seeds FOLDER`, a folder for each. All of
//! it is made here, or of the repository's own samples and rules.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use evtx_writer::{EvtxEvent, EvtxGuid, EvtxValue, FileTime, LogWriter, Payload, Sid};

/// Records of a sample that a seed keeps: damage hits what is read, and a run is quick.
const KEPT: usize = 3;

fn main() -> Result<(), Box<dyn Error>> {
    let folder: PathBuf = std::env::args_os().nth(1).ok_or("usage: make-seeds FOLDER")?.into();
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let texts = |list: &[&str]| list.iter().map(|text| text.as_bytes().to_vec()).collect();
    let seeds: [(&str, Vec<Vec<u8>>); 11] = [
        ("fragments", fragments()),
        ("clixml", MESSAGES.iter().map(|(_, xml)| xml.as_bytes().to_vec()).collect()),
        ("soap", soap()),
        ("xpress", xpress()),
        ("chunk", chunks(&repository.join("samples"))?),
        ("json", texts(&JSON)),
        ("xml", texts(&XML)),
        ("texts", records()),
        ("layers", texts(&LAYERS)),
        ("zip", zips()),
        ("pack", rules(&repository.join("detections"))?),
    ];
    for (target, seeds) in seeds {
        let folder = folder.join(target);
        fs::create_dir_all(&folder)?;
        for (number, seed) in seeds.iter().enumerate() {
            fs::write(folder.join(format!("seed-{number:02}")), seed)?;
        }
    }
    Ok(())
}

/// Messages: their types (MS-PSRP 2.2.2) and their data.
const MESSAGES: [(u32, &str); 14] = [
    (
        0x0001_0002,
        r#"<Obj RefId="0"><MS><Version N="protocolversion">2.3</Version><Version N="PSVersion">2.0</Version><Version N="SerializationVersion">1.1.0.1</Version></MS></Obj>"#,
    ),
    (
        0x0002_1004,
        r#"<Obj RefId="0"><MS><I32 N="MinRunspaces">1</I32><I32 N="MaxRunspaces">1</I32><Obj N="PSThreadOptions" RefId="1"><TN RefId="0"><T>System.Management.Automation.Runspaces.PSThreadOptions</T><T>System.Enum</T></TN><ToString>Default</ToString><I32>0</I32></Obj><Nil N="ApplicationArguments"/></MS></Obj>"#,
    ),
    (
        0x0002_1006,
        r#"<Obj RefId="0"><MS><B N="NoInput">true</B><Obj N="PowerShell" RefId="1"><MS><B N="IsNested">false</B><Nil N="ExtraCmds"/><Obj N="Cmds" RefId="2"><TN RefId="0"><T>System.Collections.Generic.List`1[[System.Management.Automation.PSObject]]</T><T>System.Object</T></TN><LST><Obj RefId="3"><MS><S N="Cmd">Get-Process</S><B N="IsScript">false</B><Nil N="UseLocalScope"/><Obj N="MergeMyResult" RefId="4"><ToString>None</ToString><I32>0</I32></Obj><Obj N="Args" RefId="5"><TNRef RefId="0"/><LST><Obj RefId="6"><MS><S N="N">-Name</S><S N="V">lsass</S></MS></Obj></LST></Obj></MS></Obj></LST></Obj></MS></Obj></MS></Obj>"#,
    ),
    (
        0x0002_1006,
        r#"<Obj RefId="0"><MS><Obj N="PowerShell" RefId="1"><MS><Obj N="Cmds" RefId="2"><LST><Obj RefId="3"><MS><S N="Cmd">whoami_x000D__x000A_$a = _x0022_x_x0022_</S><B N="IsScript">true</B><Obj N="Args" RefId="4"><LST/></Obj></MS></Obj></LST></Obj></MS></Obj></MS></Obj>"#,
    ),
    (0x0004_1004, r"<S>corp\admin_xD83D__xDE00_</S>"),
    (
        0x0004_1004,
        r#"<Obj RefId="0"><TN RefId="0"><T>System.Diagnostics.Process</T><T>System.Object</T></TN><ToString>System.Diagnostics.Process (lsass)</ToString><Props><I32 N="Id">712</I32><S N="Name">lsass</S><Db N="CPU">1.5</Db><DT N="StartTime">2026-03-14T21:14:07.1234567Z</DT><TS N="Age">PT1H</TS><G N="Guid">11111111-2222-3333-4444-555555555555</G><BA N="Hash">AAEC</BA><Ref N="Self" RefId="0"/></Props><MS><C N="Sign">65</C><URI N="Uri">http://x/</URI><XD N="Xml">&lt;a/&gt;</XD><SS N="Secret">AAECAwQ=</SS></MS></Obj>"#,
    ),
    (
        0x0004_1004,
        r#"<Obj RefId="0"><TN RefId="0"><T>System.Collections.Hashtable</T></TN><DCT><En><S N="Key">a</S><I32 N="Value">1</I32></En><En><I64 N="Key">2</I64><Obj N="Value" RefId="1"><STK><By>1</By><SB>-1</SB></STK></Obj></En></DCT></Obj>"#,
    ),
    (
        0x0004_1004,
        r#"<Obj RefId="0"><QUE><U16>1</U16><I16>2</I16><U32>3</U32><U64>4</U64><Sg>1.5</Sg><D>2.5</D><B>true</B><SBK>{ 1 }</SBK></QUE></Obj>"#,
    ),
    (
        0x0004_1005,
        r#"<Obj RefId="0"><TN RefId="0"><T>System.Management.Automation.ErrorRecord</T></TN><ToString>Access is denied</ToString><MS><Obj N="Exception" RefId="1"><ToString>System.UnauthorizedAccessException</ToString><Props><S N="Message">Access is denied</S></Props></Obj><S N="FullyQualifiedErrorId">Denied,Get-Item</S><I32 N="ErrorCategory_Category">18</I32><S N="ErrorCategory_Message">PermissionDenied: (x:String)</S><Obj N="InvocationInfo" RefId="2"><Props><I32 N="ScriptLineNumber">1</I32><S N="PositionMessage">At line:1</S></Props></Obj></MS></Obj>"#,
    ),
    (0x0004_1006, r#"<Obj RefId="0"><MS><I32 N="PipelineState">4</I32></MS></Obj>"#),
    (
        0x0004_1010,
        r#"<PR N="Record"><AV>Copying</AV><AI>1</AI><Nil/><PI>-1</PI><PC>50</PC><T>Processing</T><SR>-1</SR><SD>half</SD></PR>"#,
    ),
    (
        0x0002_1100,
        r#"<Obj RefId="0"><MS><I64 N="ci">1</I64><Obj N="mi" RefId="1"><ToString>ReadLine</ToString><I32>11</I32></Obj><Obj N="mp" RefId="2"><LST><S>Password</S><Obj RefId="3"><Props><S N="T">x</S></Props></Obj></LST></Obj></MS></Obj>"#,
    ),
    (
        0x0002_1101,
        r#"<Obj RefId="0"><MS><I64 N="ci">1</I64><Obj N="mi" RefId="1"><ToString>ReadLine</ToString><I32>11</I32></Obj><S N="mr">typed</S></MS></Obj>"#,
    ),
    (
        0x0004_1011,
        r#"<Obj RefId="0"><MS><Obj N="MessageData" RefId="1"><Props><S N="Message">hi</S><B N="NoNewLine">false</B></Props></Obj><S N="Source">x</S><Obj N="Tags" RefId="2"><LST><S>PSHOST</S></LST></Obj></MS></Obj>"#,
    ),
];

/// A message with its header (MS-PSRP 2.2.1): where it goes, its type, pool and pipeline.
fn message(kind: u32, xml: &str) -> Vec<u8> {
    let to_client = kind >> 16 == 4;
    let mut message = u32::from(1 + u8::from(!to_client)).to_le_bytes().to_vec();
    message.extend(kind.to_le_bytes());
    message.extend([7; 16]);
    message.extend([if kind & 0xf000 == 0x1000 && kind != 0x0002_1004 { 9 } else { 0 }; 16]);
    message.extend(b"\xef\xbb\xbf");
    message.extend(xml.as_bytes());
    message
}

/// A message in fragments of so many bytes (MS-PSRP 2.2.4).
fn cut(object: u64, message: &[u8], size: usize) -> Vec<u8> {
    let count = message.len().div_ceil(size);
    let mut stream = Vec::new();
    for (number, blob) in message.chunks(size).enumerate() {
        stream.extend(object.to_be_bytes());
        stream.extend((number as u64).to_be_bytes());
        stream.push(u8::from(number == 0) | u8::from(number + 1 == count) << 1);
        stream.extend((blob.len() as u32).to_be_bytes());
        stream.extend(blob);
    }
    stream
}

fn fragments() -> Vec<Vec<u8>> {
    let one =
        |(at, &(kind, xml)): (usize, &(u32, &str))| cut(at as u64 + 1, &message(kind, xml), 400);
    let mut seeds: Vec<Vec<u8>> = MESSAGES.iter().enumerate().map(one).collect();
    let picked = [0, 2, 4, 9].map(|at: usize| one((at, &MESSAGES[at])));
    seeds.push(picked.concat());
    seeds.push(picked.into_iter().rev().collect::<Vec<_>>().concat());
    seeds.into_iter().map(|stream| [vec![0], stream].concat()).collect()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let number =
            three.iter().chain([&0, &0]).take(3).fold(0, |n, &byte| n << 8 | u32::from(byte));
        for at in 0..4 {
            let digit = DIGITS[(number >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= three.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

/// A document of WS-Management for shells (MS-WSMV).
fn envelope(action: &str, header: &str, body: &str) -> String {
    format!(
        r#"<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing" xmlns:w="http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd" xmlns:p="http://schemas.microsoft.com/wbem/wsman/1/wsman.xsd" xmlns:rsp="http://schemas.microsoft.com/wbem/wsman/1/windows/shell"><s:Header><a:To>http://srv:5985/wsman</a:To><w:ResourceURI>http://schemas.microsoft.com/powershell/Microsoft.PowerShell</w:ResourceURI><a:Action>{action}</a:Action><a:MessageID>uuid:1</a:MessageID>{header}</s:Header><s:Body>{body}</s:Body></s:Envelope>"#
    )
}

fn soap() -> Vec<Vec<u8>> {
    const SHELL: &str = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell";
    const TRANSFER: &str = "http://schemas.xmlsoap.org/ws/2004/09/transfer";
    const SELECTOR: &str =
        r#"<w:SelectorSet><w:Selector Name="ShellId">A</w:Selector></w:SelectorSet>"#;
    let stream =
        |at: usize| base64(&cut(at as u64, &message(MESSAGES[at].0, MESSAGES[at].1), 4000));
    let create = envelope(
        &format!("{TRANSFER}/Create"),
        r#"<w:OptionSet><w:Option Name="protocolversion">2.3</w:Option></w:OptionSet>"#,
        &format!(
            r#"<rsp:Shell ShellId="A" Name="Runspace1"><rsp:InputStreams>stdin pr</rsp:InputStreams><creationXml xmlns="http://schemas.microsoft.com/powershell">{}</creationXml></rsp:Shell>"#,
            stream(0)
        ),
    );
    let created = envelope(
        &format!("{TRANSFER}/CreateResponse"),
        "<a:RelatesTo>uuid:1</a:RelatesTo>",
        "<rsp:Shell><rsp:ShellId>A</rsp:ShellId><rsp:Owner>CORP\\a</rsp:Owner><rsp:ClientIP>10.0.0.1</rsp:ClientIP></rsp:Shell>",
    );
    let command = envelope(
        &format!("{SHELL}/Command"),
        SELECTOR,
        &format!(
            r#"<rsp:CommandLine CommandId="B"><rsp:Command>cmd</rsp:Command><rsp:Arguments>{}</rsp:Arguments></rsp:CommandLine>"#,
            stream(2)
        ),
    );
    let send = envelope(
        &format!("{SHELL}/Send"),
        SELECTOR,
        &format!(
            r#"<rsp:Send><rsp:Stream Name="stdin" CommandId="B">{}</rsp:Stream></rsp:Send>"#,
            stream(12)
        ),
    );
    let receive = envelope(
        &format!("{SHELL}/ReceiveResponse"),
        "<a:RelatesTo>uuid:1</a:RelatesTo>",
        &format!(
            r#"<rsp:ReceiveResponse><rsp:Stream Name="stdout" CommandId="B">{}</rsp:Stream><rsp:Stream Name="stderr" CommandId="B" End="true"/><rsp:CommandState CommandId="B" State="{SHELL}/CommandState/Done"><rsp:ExitCode>0</rsp:ExitCode></rsp:CommandState></rsp:ReceiveResponse>"#,
            stream(4)
        ),
    );
    let signal = envelope(
        &format!("{SHELL}/Signal"),
        SELECTOR,
        &format!(
            r#"<rsp:Signal CommandId="B"><rsp:Code>{SHELL}/signal/terminate</rsp:Code></rsp:Signal>"#
        ),
    );
    let packed = base64(&framed(300, &abc()));
    let compressed = envelope(
        &format!("{SHELL}/ReceiveResponse"),
        "<rsp:CompressionType>xpress</rsp:CompressionType>",
        &format!(
            r#"<rsp:ReceiveResponse><rsp:Stream Name="stdout">{packed}</rsp:Stream></rsp:ReceiveResponse>"#
        ),
    );
    let fault = envelope(
        "http://schemas.dmtf.org/wbem/wsman/1/wsman/fault",
        "",
        "<s:Fault><s:Code><s:Value>s:Receiver</s:Value></s:Code><s:Reason><s:Text>no</s:Text></s:Reason></s:Fault>",
    );
    let all = [create, created, command, send, receive, signal];
    let joined = all.join("\0");
    let mut seeds: Vec<Vec<u8>> = all.into_iter().map(String::into_bytes).collect();
    seeds.extend([joined, compressed, fault].map(String::into_bytes));
    seeds
}

/// A table of the lengths of codes, from the bytes that are not zero.
fn table(bytes: &[(usize, u8)]) -> Vec<u8> {
    let mut table = vec![0; 256];
    bytes.iter().for_each(|&(at, byte)| table[at] = byte);
    table
}

/// MS-XCA 3.2, second example.
fn abc() -> Vec<u8> {
    let mut block = table(&[(48, 0x30), (49, 0x23), (128, 0x02), (143, 0x20)]);
    block.extend([0xa8, 0xdc, 0x00, 0x00, 0xff, 0x26, 0x01]);
    block
}

/// A block as WinRM frames it.
fn framed(plain: u16, data: &[u8]) -> Vec<u8> {
    [&(plain - 1).to_le_bytes()[..], &(data.len() as u16 - 1).to_le_bytes(), data].concat()
}

fn xpress() -> Vec<Vec<u8>> {
    // MS-XCA 3.2, first example.
    let mut alphabet = table(&[(48, 0x50), (59, 0x45), (60, 0x44), (61, 0x04), (128, 0x04)]);
    alphabet[49..59].fill(0x55);
    alphabet.extend([0xd8, 0x52, 0x3e, 0xd7, 0x94, 0x11, 0x5b, 0xe9, 0x19, 0x5f]);
    alphabet.extend([0xf9, 0xd6, 0x7c, 0xdf, 0x8d, 0x04, 0x00, 0x00, 0x00, 0x00]);
    let (alphabet, abc) = (framed(26, &alphabet), framed(300, &abc()));
    let every = [vec![0x99; 256], (0..200).map(|n| (n * 37) as u8).collect()].concat();
    vec![
        alphabet.clone(),
        abc.clone(),
        [framed(2, b"hi"), alphabet, abc].concat(),
        framed(20, &every),
    ]
}

/// The first chunk of each sample with its first records, and chunks of one event for each way in
/// which an event may hold data.
fn chunks(samples: &Path) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let mut logs = Vec::new();
    for host in ["DC01", "SRV02", "WS01"] {
        let mut paths: Vec<PathBuf> = fs::read_dir(samples.join(host))?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<_, std::io::Error>>()?;
        paths.sort();
        for path in paths.iter().filter(|path| path.extension().is_some_and(|ext| ext == "evtx")) {
            logs.push(fs::read(path)?);
        }
    }
    let values = [
        EvtxValue::Null,
        EvtxValue::String("text \u{e4}".into()),
        EvtxValue::Int8(-1),
        EvtxValue::UInt16(2),
        EvtxValue::Int32(-3),
        EvtxValue::UInt64(4),
        EvtxValue::Bool(true),
        EvtxValue::Binary(vec![0, 1, 0xff]),
        EvtxValue::Guid(EvtxGuid::from_u128(5)),
        EvtxValue::FileTime(FileTime::from_unix(1_773_522_847, 7)),
        EvtxValue::Sid(Sid::nt([21, 1, 2, 3, 500])),
        EvtxValue::HexInt32(0x10),
        EvtxValue::HexInt64(0x20),
    ];
    let named = values.into_iter().enumerate().map(|(at, value)| (format!("f{at}"), value));
    let fields: Vec<(String, EvtxValue)> = named.collect();
    let payloads = [
        Payload::EventData(fields.clone()),
        Payload::Strings(vec!["one".into(), String::new(), "three".into()]),
        Payload::UserData { element: "Own".into(), namespace: "urn:x".into(), fields },
        Payload::ProcessingError { code: 15005, item: "shellId".into(), data: vec![1, 2, 3, 0] },
    ];
    for payload in payloads {
        let mut log = LogWriter::new();
        for record_id in 1..3 {
            log.push(&EvtxEvent {
                provider: "Provider".into(),
                provider_guid: Some(EvtxGuid::from_u128(1)),
                event_id: 4104,
                time: FileTime::from_unix(1_773_522_847, 0),
                record_id,
                activity_id: Some(EvtxGuid::from_u128(2)),
                process_id: 4,
                thread_id: 8,
                channel: "Microsoft-Windows-PowerShell/Operational".into(),
                computer: "WS01".into(),
                user_sid: Some(Sid::nt([18])),
                payload: payload.clone(),
                ..EvtxEvent::default()
            })?;
        }
        logs.push(log.finish());
    }
    let seeds = logs.into_iter().map(|log| {
        let mut chunk = log[4096..4096 + 65536].to_vec();
        let end = (0..KEPT).fold(512, |at, _| match &chunk[at..at + 8] {
            [b'*', b'*', 0, 0, size @ ..] => {
                at + size.iter().rev().fold(0, |n, &byte| n << 8 | usize::from(byte))
            }
            _ => at,
        });
        chunk[48..52].copy_from_slice(&(end as u32).to_le_bytes());
        chunk.truncate(end);
        chunk
    });
    Ok(seeds.collect())
}

/// Records as each known tool writes them.
const JSON: [&str; 8] = [
    r##"{"Event":{"#attributes":{"xmlns":"x"},"System":{"Provider":{"#attributes":{"Name":"Microsoft-Windows-PowerShell","Guid":"A"}},"EventID":4104,"Version":1,"Level":5,"Keywords":"0x0","TimeCreated":{"#attributes":{"SystemTime":"2026-03-14T21:14:07.1234567Z"}},"EventRecordID":42,"Correlation":{"#attributes":{"ActivityID":"B"}},"Execution":{"#attributes":{"ProcessID":4,"ThreadID":8}},"Channel":"Microsoft-Windows-PowerShell/Operational","Computer":"WS01","Security":{"#attributes":{"UserID":"S-1-5-18"}}},"EventData":{"MessageNumber":1,"ScriptBlockText":"whoami \u00e4\ud83d\ude00","Path":null}}}"##,
    "Record 41\n{\"Event\":{\"System\":{\"EventID\":{\"#attributes\":{\"Qualifiers\":0},\"#text\":400},\"TimeCreated\":{\"#attributes\":{\"SystemTime\":\"2026-03-14T21:14:07Z\"}},\"Channel\":\"Windows PowerShell\",\"EventRecordID\":1},\"EventData\":{\"Data\":{\"#text\":[\"Available\",\"None\",\"\\tNewEngineState=Available\\n\"]}}}}\nRecord 42\n{\"Event\":{\"System\":{\"EventID\":1},\"UserData\":{\"Own\":{\"a\":[1,2.5,true]}}}}\n",
    r##"[{"Event":{"System":{"EventID":1}}},{"Event":{"System":{"EventID":2,"TimeCreated":{"SystemTime":"2026-03-14T21:14:07Z"}},"EventData":{"Data":[{"@Name":"a","#text":"b"}]}}}]"##,
    r##"{"EventTime":"2020-08-06 11:56:24","EventReceivedTime":"2020-08-06 17:41:26","Hostname":"WS01","EventID":4624,"SourceName":"Microsoft-Windows-Security-Auditing","Channel":"Security","RecordNumber":7,"ExecutionProcessID":4,"Message":"x","IpAddress":"10.0.0.1"}"##,
    r##"{"@timestamp":"2020-08-06T11:56:24.000Z","event":{"code":4624},"winlog":{"channel":"Security","computer_name":"WS01","event_id":4624,"provider_name":"P","record_id":7,"process":{"pid":4,"thread":{"id":8}},"event_data":{"IpAddress":"10.0.0.1"}}}"##,
    r##"{"winlog.event_id":"1","@timestamp":"2020-08-06T11:56:24.000Z","winlog.channel":"x","event_id":1}"##,
    r##"{"Timestamp":"2026-03-14 21:14:07.123 +00:00","RuleTitle":"x","Level":"info","Computer":"WS01","Channel":"Sec","EventID":4624,"RecordID":7,"Details":{"User":"a"},"ExtraFieldInfo":{"b":"c"}}"##,
    "{\"EventID\":1}\n{\"EventID\":\n{\"EventID\":3}\nstray {\"EventID\":4,\"a\":\"\\",
];

/// Records as Windows exports them.
const XML: [&str; 4] = [
    r#"<?xml version="1.0" encoding="utf-8"?><Events><Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System><Provider Name='P' Guid='{A}'/><EventID Qualifiers='0'>4624</EventID><Version>1</Version><Level>0</Level><Keywords>0x8020000000000000</Keywords><TimeCreated SystemTime='2026-03-14T21:14:07.1234567Z'/><EventRecordID>42</EventRecordID><Correlation ActivityID='{B}'/><Execution ProcessID='4' ThreadID='8'/><Channel>Security</Channel><Computer>WS01</Computer><Security UserID='S-1-5-18'/></System><EventData><Data Name='IpAddress'>10.0.0.1</Data><Data>a &lt; b &#x41;</Data><Binary>00FF</Binary></EventData><RenderingInfo Culture='en'><Message>x</Message></RenderingInfo></Event></Events>"#,
    "<Event><System><EventID>1</EventID></System><UserData><Own xmlns='urn:x'><a>1</a><b/></Own></UserData></Event>\n<Event><System><EventID>2</EventID></System></Event>",
    "<Events>\n<Event><System><EventID>1</EventID><Channel>x</Channel></System><EventData><Data Name='a'><![CDATA[b]]></Data></EventData></Event>stray<!-- <Event> --><Event><System><EventID>",
    "<Event><System><EventID>1</EventID></System><ProcessingErrorData><ErrorCode>15005</ErrorCode><DataItemName>x</DataItemName><EventPayload>00</EventPayload></ProcessingErrorData></Event>",
];

/// Values for each of the target's forms of records, in its order.
fn records() -> Vec<Vec<u8>> {
    const CONTEXT: &str = "        Severity = Informational\r\n        Host Name = ServerRemoteHost\r\n        Host ID = 11111111-2222-3333-4444-555555555555\r\n        Host Application = C:\\Windows\\system32\\wsmprovhost.exe -Embedding\r\n        Engine Version = 5.1\r\n        Runspace ID = 21111111-2222-3333-4444-555555555555\r\n        Pipeline ID = 3\r\n        Command Name = Get-Item\r\n        Command Type = Cmdlet\r\n        Script Name = \r\n        Command Path = \r\n        Sequence Number = 17\r\n        User = CORP\\a\r\n        Connected User = CORP\\a\r\n        Shell ID = Microsoft.PowerShell\r\n";
    const LOCAL: &str = "Schweregrad = x\r\nHostname = ServerRemoteHost\r\nHost-ID = 11111111-2222-3333-4444-555555555555\r\nHostanwendung = C:\\x.exe -Embedding\r\nRunspace-ID = 21111111-2222-3333-4444-555555555555\r\nPipeline-ID = 3\r\nBefehlsname = x\r\nTyp = y\r\nSkript = \r\nPfad = \r\nSequenznummer = 17\r\nBenutzer = CORP\\a\r\n";
    const PAYLOAD: &str = "CommandInvocation(Get-Item): \"Get-Item\"\r\nParameterBinding(Get-Item): name=\"Path\"; value=\"C:\\\"\r\nCommandInvocation(Out-Default): \"Out-Default\"\r\n";
    const CLASSIC: &str = "\tDetailSequence=1\r\n\tDetailTotal=1\r\n\r\n\tSequenceNumber=15\r\n\r\n\tUserId=CORP\\a\r\n\tHostName=ServerRemoteHost\r\n\tHostVersion=1.0\r\n\tHostId=11111111-2222-3333-4444-555555555555\r\n\tHostApplication=C:\\x.exe -Embedding\r\n\tEngineVersion=5.1\r\n\tRunspaceId=21111111-2222-3333-4444-555555555555\r\n\tPipelineId=3\r\n\tScriptName=\r\n\tCommandLine=Get-Item C:\\\r\n\tProviderName=WSMan\r\n";
    let values: [String; 22] = [
        format!("{CONTEXT}\0\0{PAYLOAD}"),
        format!("{LOCAL}\0\0Error Message = x"),
        format!("{CONTEXT}\0\0Command Get-Item is Started."),
        "1\x002\0whoami\0{11111111-2222-3333-4444-555555555555}\0C:\\x.ps1".into(),
        "4242\0DefaultAppDomain".into(),
        format!("Get-Item\0{CLASSIC}\0{PAYLOAD}"),
        format!("Available\0None\0{CLASSIC}"),
        format!("WSMan\0Started\0{CLASSIC}"),
        "https://srv.corp.example:5986/wsman?PSVersion=5.1".into(),
        "http://schemas.microsoft.com/powershell/Microsoft.PowerShell\0A".into(),
        "15005\0shellId\x00680074007400700000".into(),
        "WSMan operation CreateShell failed\x002150858770".into(),
        "CORP\\a\0Kerberos".into(),
        format!("{}\x001\x001", envelope("http://x/Create", "", "")),
        format!("0x{}\x001\x000\x001\x001\0", hex(&message(0x0004_1004, "<S>x</S>"))),
        "a\0b\0c".into(),
        "a\0CORP\0S-1-5-21-1-2-3-500\x000x3e7\0::ffff:10.0.0.1".into(),
        "C:\\x.exe\x000x10\x000x20\0powershell -enc AAAA".into(),
        "\\x\0<Task><Exec><Command>a</Command></Exec></Task>\0a".into(),
        "C:\\x.exe\x0016\0x -y\0CORP\\a".into(),
        "x\0%COMSPEC% /c x\0LocalSystem".into(),
        "sshd\0Accepted publickey for a from 10.0.0.1 port 22 ssh2: RSA SHA256:x".into(),
    ];
    let numbered = values.iter().enumerate();
    numbered.map(|(at, value)| [&[at as u8], value.as_bytes()].concat()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// Obfuscated texts, each with a different technique.
const LAYERS: [&str; 20] = [
    "powershell -nop -w hidden -enc dwBoAG8AYQBtAGkA",
    "iex ('{1}{0}' -f 'ami','who')",
    "iex (\"{1}{0}\"-f'ami',(\"{0}{1}\" -f 'w','ho'))",
    "$a = 'who'; $b = 'ami'; iex ($a+$b)",
    "Set-Variable x ('who'+'ami'); (Get-Variable x -ValueOnly) | iex",
    "$x=[char[]]'imaohw'; [array]::Reverse($x); iex (-join $x)",
    "iex ([regex]::Matches('imaohw','.','RightToLeft') -join '')",
    "iex ('wXoami'.('Rep'+'lace').Invoke('X','h'))",
    "iex (-join ('w-h}o-a}m-i' -split '-' -split '}'))",
    "iex ([Text.Encoding]::UTF8.GetString([Convert]::FromBase64String('d2hvYW1p')))",
    "iex (-join (119,104,111,97,109,105 | % { [char]$_ }))",
    "iex (-join ('77 68 6f 61 6d 69' -split ' ' | ForEach-Object { [char][Convert]::ToInt32($_, 16) }))",
    "&($env:ComSpec[4,15,25]-join'') ('whoami')",
    "&('i'+'ex') (('who'+'ami') -bxor 0)",
    "for($i=0;$i -lt 3;$i++){ $s += [char](65+$i) }; iex $s",
    "cmd /c \"set a=who&& set b=ami&& call %a%%b%\"",
    "iex (New-Object IO.StreamReader((New-Object IO.Compression.DeflateStream([IO.MemoryStream][Convert]::FromBase64String('K8/IT8zNBAA='),[IO.Compression.CompressionMode]::Decompress)),[Text.Encoding]::ASCII)).ReadToEnd()",
    "if ($true) { iex \"who$('a'+'mi')\" } else { switch (1) { 1 { 'x' } } }",
    "${`a}='w`ho'; ( '{0}ami'-f${a} )|.( $PSHome[4]+$PSHome[30]+'x')",
    "function f($x) { return $x * 3 }; iex @'\nwhoami\n'@; foreach ($c in 'a','b') { $c }",
];

/// The checksum of zips.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 * (crc & 1)))
    })
}

/// An archive (APPNOTE.TXT 4.3): members stored, or in one deflate block that is stored.
fn archive(members: &[(&str, &[u8])], deflated: bool) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in members {
        let length = content.len() as u16;
        let block = [&[1][..], &length.to_le_bytes(), &(!length).to_le_bytes(), content].concat();
        let data = if deflated { block } else { content.to_vec() };
        let mut common = vec![20, 0, 0, 0, if deflated { 8 } else { 0 }, 0, 0, 0, 0x21, 0x5c];
        common.extend(crc(content).to_le_bytes());
        common.extend((data.len() as u32).to_le_bytes());
        common.extend((content.len() as u32).to_le_bytes());
        common.extend((name.len() as u16).to_le_bytes());
        common.extend([0; 2]);
        let at = (out.len() as u32).to_le_bytes();
        directory
            .extend([b"PK\x01\x02\x14\0", &common[..], &[0; 10], &at, name.as_bytes()].concat());
        out.extend([b"PK\x03\x04", &common[..], name.as_bytes(), &data].concat());
    }
    let (start, count) = (out.len() as u32, (members.len() as u16).to_le_bytes());
    let sizes = [(directory.len() as u32).to_le_bytes(), start.to_le_bytes()].concat();
    out.extend(directory);
    out.extend([b"PK\x05\x06\0\0\0\0", &count[..], &count, &sizes, &[0; 2]].concat());
    out
}

/// Archives: one that is stored, one that is packed, and one in another.
fn zips() -> Vec<Vec<u8>> {
    let (json, xml) = (JSON[2].as_bytes(), XML[1].as_bytes());
    let stored = archive(&[("a.json", json), ("b/../c.xml", xml)], false);
    let packed = archive(&[("a.json", json), ("b.txt", b"no log")], true);
    let nested = archive(&[("in.zip", &stored), ("ElfFile.evtx", b"ElfFile\0")], true);
    vec![stored, packed, nested]
}

/// Rules of the built-in pack, one of each folder, and some of other forms.
fn rules(pack: &Path) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let mut seeds = Vec::new();
    let mut folders: Vec<PathBuf> = fs::read_dir(pack.join("investigation"))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_, std::io::Error>>()?;
    folders.sort();
    for folder in folders.iter().filter(|folder| folder.is_dir()) {
        let mut paths: Vec<PathBuf> = fs::read_dir(folder)?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<_, std::io::Error>>()?;
        paths.retain(|path| !path.to_string_lossy().ends_with(".cases.yml"));
        paths.sort();
        if let Some(path) = paths.first() {
            seeds.push(fs::read(path)?);
        }
    }
    let others = [
        "title: a\nname: a\nlogsource:\n  product: windows\n  category: ps_script\ndetection:\n  s:\n    ScriptBlockText|contains|all:\n      - IEX\n      - http\n  k:\n    - one\n    - two\n  f:\n    Path|re: 'a.*b'\n    Path|endswith: null\n    N|gte: 3\n    Ip|cidr: 10.0.0.0/8\n    E|base64offset|contains: x\n  condition: (1 of s* or all of k) and not f\n---\ntitle: b\ncorrelation:\n  type: event_count\n  rules: [a]\n  group-by: [Computer]\n  timespan: 5m\n  condition:\n    gte: 2\n",
        "title: f\nlogsource:\n  product: windows\nfilter:\n  rules: [a]\n  selection:\n    User|startswith: x\n  condition: not selection\n",
        "action: global\ntitle: g\nlogsource: {product: windows, service: security}\n---\ndetection: {s: {EventID: [4624, 4625]}, condition: s}\n",
    ];
    seeds.extend(others.map(|text| text.as_bytes().to_vec()));
    Ok(seeds)
}
