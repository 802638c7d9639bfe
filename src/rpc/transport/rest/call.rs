//! Calls ampd's gRPC services in-process, so that REST behaves like gRPC.

use axum::body::Bytes;
use futures_util::Stream;
use prost::Message;
use prost::bytes::Buf;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::AsciiMetadataValue;
use tonic::service::Routes;
use tonic::{Request, Status, Streaming};

use crate::rpc::transport::auth::Guard;
use crate::rpc::transport::connections::Caller;
use crate::rpc::transport::methods::Method;
use lnd_api::layout::MACAROON_HEADER;

/// All services behind the macaroon check.
pub(in crate::rpc) type Services = Guard<Routes>;

/// The API client and its macaroons.
#[derive(Clone)]
pub(super) struct Credentials {
    pub(super) caller: Caller,
    pub(super) macaroons: Vec<AsciiMetadataValue>,
}

impl Credentials {
    /// Attaches the credentials to a request.
    fn attach_to<T>(self, request: &mut Request<T>) {
        for macaroon in self.macaroons {
            request.metadata_mut().append(MACAROON_HEADER, macaroon);
        }
        request.extensions_mut().insert(self.caller);
    }
}

/// Returns whether the guard would admit the call. Bodies of other calls are not read, to save memory.
pub(super) fn is_authorized(
    services: &Services,
    method: &Method,
    credentials: Credentials,
) -> bool {
    let mut request = Request::new(());
    credentials.attach_to(&mut request);
    let (headers, extensions, ()) = request.into_parts();
    let admitted = services.admit(&method.path, headers.as_ref(), &extensions);
    admitted.is_ok()
}

/// Calls a method. A request or response that is not streamed is a stream of one message.
///
/// # Errors
/// The status that the method or the guard returns before the first response message.
pub(super) async fn call(
    services: Services,
    method: &Method,
    messages: impl Stream<Item = DynamicMessage> + Send + 'static,
    credentials: Credentials,
) -> Result<Streaming<Encoded>, Status> {
    let mut request = Request::new(messages);
    credentials.attach_to(&mut request);
    let path = PathAndQuery::try_from(&*method.path);
    let path = path.map_err(|error| Status::internal(error.to_string()))?;
    let codec = DynamicCodec(method.response.clone());
    // Our own responses need no size limit.
    let mut client = Grpc::new(services).max_decoding_message_size(usize::MAX);
    let answers = client.streaming(request, path, codec).await?;
    Ok(answers.into_inner())
}

/// A response message as protobuf. It is decoded where it is converted: a large one takes long.
pub(super) struct Encoded {
    descriptor: MessageDescriptor,
    bytes: Bytes,
}

impl Encoded {
    /// Returns the size in bytes.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Decodes the message.
    ///
    /// # Errors
    /// `Internal` if it does not match the descriptor.
    pub(super) fn decode(self) -> Result<DynamicMessage, Status> {
        DynamicMessage::decode(self.descriptor, self.bytes)
            .map_err(|error| Status::internal(error.to_string()))
    }
}

/// Encodes requests and passes responses on with their descriptor.
struct DynamicCodec(MessageDescriptor);

impl Codec for DynamicCodec {
    type Encode = DynamicMessage;
    type Decode = Encoded;
    type Encoder = Writer;
    type Decoder = Reader;

    fn encoder(&mut self) -> Writer {
        Writer
    }

    fn decoder(&mut self) -> Reader {
        Reader(self.0.clone())
    }
}

struct Writer;

impl Encoder for Writer {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, message: DynamicMessage, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        message
            .encode(to)
            .map_err(|error| Status::internal(error.to_string()))
    }
}

struct Reader(MessageDescriptor);

impl Decoder for Reader {
    type Item = Encoded;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Encoded>, Status> {
        Ok(Some(Encoded {
            descriptor: self.0.clone(),
            bytes: from.copy_to_bytes(from.remaining()),
        }))
    }
}
