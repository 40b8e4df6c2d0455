//! What the server counts.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::wait::soon;

/// The counter's value, over all its labels; 0 = it was never counted.
pub(crate) async fn metric(address: &str, name: &str) -> f64 {
    let page = soon("the metrics", page(address)).await;
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    let value = |line: &str| {
        let rest = line.strip_prefix(name)?;
        let is_whole = rest.starts_with([' ', '{']);
        is_whole.then(|| rest.rsplit(' ').next()?.parse::<f64>().ok()).flatten()
    };
    page.lines().filter_map(value).sum()
}

async fn page(address: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("the port is open");
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("the request is taken");
    let mut page = String::new();
    stream.read_to_string(&mut page).await.expect("the answer is text");
    page
}
