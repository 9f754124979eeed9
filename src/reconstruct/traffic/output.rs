//! The output of pipelines.

use std::collections::BTreeMap;

use psrp::Pipeline;

use crate::model::Stream;

/// Returns a pipeline's output in the order in which it was sent: stream, index of the message,
/// text.
pub(crate) fn pipeline_output(pipeline: &Pipeline) -> Vec<(Stream, usize, String)> {
    let mut shown: Vec<(Stream, usize, String)> = Vec::new();
    let items = |items: &[psrp::PipelineObject], stream| {
        let lines = items.iter().map(|item| (stream, item.message, item.line()));
        lines.collect::<Vec<_>>()
    };
    shown.extend(items(&pipeline.input, Stream::Input));
    shown.extend(items(&pipeline.output, Stream::Output));
    for (stream, texts) in [
        (Stream::Warning, &pipeline.warnings),
        (Stream::Verbose, &pipeline.verbose),
        (Stream::Debug, &pipeline.debug),
    ] {
        shown.extend(texts.iter().map(|(text, at)| (stream, *at, text.clone())));
    }
    // The error that ends a pipeline is an error record in its last state.
    let errors = pipeline.errors.iter().chain(&pipeline.failure);
    shown.extend(errors.map(|(error, at)| (Stream::Error, *at, psrp::error_text(error))));
    let information = pipeline.information.iter();
    shown.extend(information.map(|(one, at)| (Stream::Information, *at, one.data.clone())));
    let calls = pipeline.host_calls.iter();
    let calls =
        calls.filter_map(|(call, at)| Some((Stream::Host, *at, psrp::host_call_text(call)?)));
    shown.extend(calls);
    if let Some(&(_, at)) = pipeline.progress.last() {
        let progress = psrp::progress_lines(pipeline.progress.iter().map(|(one, _)| one));
        shown.extend(progress.into_iter().map(|text| (Stream::Progress, at, text)));
    }
    let places: BTreeMap<usize, usize> =
        pipeline.messages.iter().enumerate().map(|(place, &at)| (at, place)).collect();
    shown.sort_by_key(|(_, at, _)| places.get(at).copied());
    shown
}
