use super::*;

fn last(text: &str) -> String {
    let found = layers(text, &Limits::default());
    found.layers.last().map(|layer| layer.text.clone()).unwrap_or_default()
}

#[test]
#[ignore]
fn scratch() {
    let text = std::fs::read_to_string("/tmp/h/layers-scratch.txt").unwrap();
    for text in text.split("\n====\n") {
        println!("-- {}", text.chars().take(200).collect::<String>());
        let found = layers(text, &Limits::default());
        for layer in &found.layers {
            println!(
                "   {:?} p{:?} @{}: {}",
                layer.how,
                layer.parent,
                layer.offset,
                layer.text.chars().take(400).collect::<String>()
            );
        }
        println!("   {:?} {:?}", found.binaries, found.stopped);
    }
    let _ = last("");
}
