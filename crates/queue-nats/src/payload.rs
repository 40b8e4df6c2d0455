//! What travels: the id of one message, or the rings of one commit. Versioned, so that nodes of two versions can share a
//! stream while one replaces the other.

use delivery::model::MessageKey;
use delivery::port::Ring;
use message::id::{ClientId, MessageId};
use uuid::Uuid;

const VERSION: u8 = 1;
const ID: usize = 16;
const RING: usize = ID + 8;
/// Version, then who rang.
const BELL_HEADER: usize = 1 + ID;

/// Version, client id, message id: 33 bytes.
pub(crate) fn write_key(key: &MessageKey) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + 2 * ID);
    bytes.push(VERSION);
    bytes.extend_from_slice(key.client.as_uuid().as_bytes());
    bytes.extend_from_slice(key.id.as_uuid().as_bytes());
    bytes
}

/// `None` = it is nothing that [`write_key`] wrote.
pub(crate) fn read_key(bytes: &[u8]) -> Option<MessageKey> {
    let (&VERSION, ids) = bytes.split_first()? else { return None };
    let (client, id) = ids.split_at_checked(ID)?;
    Some(MessageKey {
        client: ClientId::from_uuid(Uuid::from_slice(client).ok()?),
        id: MessageId::from_uuid(Uuid::from_slice(id).ok()?),
    })
}

/// Version, who rang, then client id and `seq` of each ring.
pub(crate) fn write_rings(origin: Uuid, rings: &[Ring]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(BELL_HEADER + rings.len() * RING);
    bytes.push(VERSION);
    bytes.extend_from_slice(origin.as_bytes());
    for ring in rings {
        bytes.extend_from_slice(ring.client.as_uuid().as_bytes());
        bytes.extend_from_slice(&ring.last_seq.to_be_bytes());
    }
    bytes
}

/// Who rang, and the rings. `None` = it is nothing that [`write_rings`] wrote.
pub(crate) fn read_rings(bytes: &[u8]) -> Option<(Uuid, Vec<Ring>)> {
    let (header, rings) = bytes.split_at_checked(BELL_HEADER)?;
    let (&VERSION, origin) = header.split_first()? else { return None };
    if rings.len() % RING != 0 {
        return None;
    }
    let rings = rings.chunks_exact(RING).map(|ring| {
        let (client, seq) = ring.split_at(ID);
        let client = ClientId::from_uuid(Uuid::from_slice(client).ok()?);
        Some(Ring { client, last_seq: i64::from_be_bytes(seq.try_into().ok()?) })
    });
    Some((Uuid::from_slice(origin).ok()?, rings.collect::<Option<_>>()?))
}
