use super::*;
use crate::clixml::ClixmlDocument;
use crate::record_text;

fn parse(xml: &str) -> ClixmlDocument {
    ClixmlDocument::parse(xml.as_bytes()).unwrap()
}

/// Makes a CREATE_PIPELINE with one statement of these commands.
fn created(commands: &str) -> PipelineCreation {
    let xml = format!(
        "<Obj RefId='0'><MS><B N='NoInput'>true</B><Obj N='PowerShell' RefId='1'><MS>\
         <Obj N='Cmds' RefId='2'><LST>{commands}</LST></Obj><S N='History'>h</S></MS></Obj></MS></Obj>"
    );
    PipelineCreation::read(parse(&xml).root())
}

fn command(text: &str, is_script: bool, arguments: &str) -> String {
    format!(
        "<Obj RefId='3'><MS><S N='Cmd'>{text}</S><Obj N='Args' RefId='4'><LST>{arguments}</LST>\
         </Obj><B N='IsScript'>{is_script}</B></MS></Obj>"
    )
}

fn argument(name: &str, value: &str) -> String {
    format!("<Obj RefId='5'><MS>{name}{value}</MS></Obj>")
}

#[test]
fn commands_read_as_one_could_type_them() {
    let arguments = [
        argument("<S N='N'>-Path</S>", "<S N='V'>C:\\it's</S>"),
        argument("<S N='N'>Force</S>", "<B N='V'>true</B>"),
        argument("<Nil N='N'/>", "<I32 N='V'>7</I32>"),
        argument(
            "<S N='N'>Include</S>",
            "<Obj N='V' RefId='9'><LST><S>a</S><Nil/><SBK>$_</SBK></LST></Obj>",
        ),
        argument("<S N='N'>Secret</S>", "<SS N='V'>AAAA</SS>"),
    ];
    let commands = [
        command("Get-Item", false, &arguments.concat()),
        command("param($a) $a", true, &argument("<S N='N'>a</S>", "<Nil N='V'/>")),
        command("whoami", true, ""),
    ];
    let creation = created(&commands.concat());
    assert_eq!(
        record_text::commands_text(&creation.commands),
        "Get-Item -Path 'C:\\it''s' -Force:$true 7 -Include @('a', $null, {$_}) \
         -Secret <encrypted SecureString> | & {param($a) $a} -a $null | whoami"
    );
    assert_eq!((creation.history.as_deref(), creation.no_input), (Some("h"), Some(true)));
}

#[test]
fn statements_come_from_extra_commands() {
    let statement = |text: &str| {
        let command = command(text, true, "");
        format!("<Obj RefId='8'><MS><Obj N='Cmds' RefId='7'><LST>{command}</LST></Obj></MS></Obj>")
    };
    let xml = format!(
        "<Obj RefId='0'><MS><Obj N='PowerShell' RefId='1'><MS><Obj N='Cmds' RefId='2'><LST>{}</LST>\
         </Obj><Obj N='ExtraCmds' RefId='6'><LST>{}{}</LST></Obj></MS></Obj></MS></Obj>",
        command("one", true, ""),
        statement("one"),
        statement("two")
    );
    assert_eq!(
        record_text::commands_text(&PipelineCreation::read(parse(&xml).root()).commands),
        "one; two"
    );
}

#[test]
fn repeated_references_do_not_multiply_text() {
    let long = "x".repeat(1 << 20);
    let argument = "<Obj RefId='5'><MS><Ref N='V' RefId='4'/></MS></Obj>".repeat(4000);
    let first = format!("<Obj RefId='5'><MS><Obj N='V' RefId='4'><S>{long}</S></Obj></MS></Obj>");
    let creation = created(&command("a", false, &format!("{first}{argument}")));
    let length = |parameter: &Parameter| parameter.value.len() + parameter.literal.len();
    let total: usize = creation.commands[0].parameters.iter().map(length).sum();
    assert!(creation.is_cut && total < 80 << 20, "{total}");
}

#[test]
fn errors_read_as_the_console_shows_them() {
    let document = parse(
        "<Obj RefId='0'><ToString>shown</ToString><MS><Obj N='Exception' RefId='1'>\
         <TN RefId='0'><T>System.Exception</T></TN><Props><S N='Message'>No such file.</S></Props></Obj>\
         <S N='FullyQualifiedErrorId'>PathNotFound</S><I32 N='ErrorCategory_Category'>13</I32>\
         <S N='ErrorCategory_Activity'>Get-Content</S><S N='ErrorCategory_Message'>ObjectNotFound: (x)</S>\
         <S N='InvocationInfo_PositionMessage'>At line:1 char:1</S></MS></Obj>",
    );
    let error = ErrorRecord::read(document.root());
    assert_eq!((error.category, error.category_name), (Some(13), Some("ObjectNotFound")));
    assert_eq!(
        record_text::error_text(&error),
        "Get-Content : No such file.\nAt line:1 char:1\n\
         \x20   + CategoryInfo          : ObjectNotFound: (x)\n\
         \x20   + FullyQualifiedErrorId : PathNotFound"
    );
    // A record without exception shows its own text.
    let bare = parse("<Obj RefId='0'><ToString>shown</ToString></Obj>");
    assert_eq!(record_text::error_text(&ErrorRecord::read(bare.root())), "shown");
}

#[test]
fn host_calls_read_as_prompts_and_answers() {
    let call = |method: u8, parameters: &str, answer: &str| {
        let mut calls = HostCalls::default();
        let xml = format!(
            "<Obj RefId='0'><MS><I64 N='ci'>3</I64><Obj N='mi' RefId='1'><I32>{method}</I32></Obj>\
             <Obj N='mp' RefId='2'><LST>{parameters}</LST></Obj></MS></Obj>"
        );
        calls.call(parse(&xml).root(), 0);
        if !answer.is_empty() {
            let xml = format!("<Obj RefId='0'><MS><I64 N='ci'>3</I64>{answer}</MS></Obj>");
            calls.answer(parse(&xml).root());
        }
        record_text::host_call_text(&calls.iter().next().unwrap().0)
    };
    let say = |text: &str| Some(text.to_owned());
    assert_eq!(call(16, "<S>hello</S>", ""), say("hello"));
    assert_eq!(call(17, "<I32>1</I32><I32>2</I32><S>red</S>", ""), say("red"));
    assert_eq!(call(22, "<S>careful</S>", ""), say("WARNING: careful"));
    assert_eq!(call(11, "", "<S N='mr'>typed</S>"), say("> typed"));
    assert_eq!(call(12, "", "<SS N='mr'>AAAA</SS>"), say("> <encrypted SecureString>"));
    assert_eq!(
        call(26, "<S>Confirm</S><S>Sure?</S>", "<I32 N='mr'>1</I32>"),
        say("Confirm\nSure? > 1")
    );
    assert_eq!(call(42, "<S>title</S>", ""), None);
}

#[test]
fn progress_folds_to_the_last_of_each_activity() {
    let record = |activity: &str, percent: i64| ProgressRecord {
        activity: activity.to_owned(),
        status: "busy".to_owned(),
        percent: Some(percent),
        ..ProgressRecord::default()
    };
    let records = [record("a", 1), record("b", -1), record("a", 99)];
    assert_eq!(record_text::progress_lines(&records), ["a: busy 99 %", "b: busy"]);
}
