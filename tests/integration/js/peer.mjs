// A libp2p peer of another family that speaks two protocols of Hanse, written from
// docs/protocol.md alone.  Commands come as JSON lines on standard input, answers and events go as
// JSON lines to standard output; bytes are hexadecimal.

import { createHash } from 'node:crypto'
import { createInterface } from 'node:readline'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import * as dagCbor from '@ipld/dag-cbor'
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import { gossipsub } from '@libp2p/gossipsub'
import { identify } from '@libp2p/identify'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'

const STATUS = '/hanse/status/1'
const PIECE = '/hanse/piece/1'
const PIECE_BYTES = 1024 * 1024
const LEAF_BYTES = 16 * 1024
const SLICE = 65507

const say = (value) => process.stdout.write(JSON.stringify(value) + '\n')
const hex = (bytes) => Buffer.from(bytes).toString('hex')
const bytesOf = (text) => new Uint8Array(Buffer.from(text, 'hex'))
const sha256 = (bytes) => createHash('sha256').update(bytes).digest()

const frame = (message) => {
  const body = Buffer.from(dagCbor.encode(message))
  const head = Buffer.alloc(4)
  head.writeUInt32BE(body.length)
  return Buffer.concat([head, body])
}

// What one stream brought and nobody has taken yet.
class Incoming {
  constructor (stream) {
    this.held = Buffer.alloc(0)
    this.source = stream[Symbol.asyncIterator]()
  }

  async take (count) {
    while (this.held.length < count) {
      const { value, done } = await this.source.next()
      if (done) throw new Error(`the stream ended after ${this.held.length} of ${count} bytes`)
      this.held = Buffer.concat([this.held, value.subarray()])
    }
    const taken = this.held.subarray(0, count)
    this.held = this.held.subarray(count)
    return taken
  }

  async message () {
    const size = (await this.take(4)).readUInt32BE()
    return dagCbor.decode(await this.take(size))
  }
}

const about = (observed) => ({
  v: 1, program: 'other/1', roles: [], identity: null, observed, time_ms: Date.now(), peers: 0
})

const node = await createLibp2p({
  privateKey: await generateKeyPairFromSeed('Ed25519', bytesOf(process.argv[2])),
  addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: { identify: identify(), ping: ping(), pubsub: gossipsub({ allowPublishToZeroTopicPeers: true }) }
})

await node.handle(STATUS, async (stream) => {
  const incoming = new Incoming(stream)
  const [number, call, theirs] = await incoming.message()
  say({ event: 'asked', number, program: theirs.program })
  stream.send(frame([1, call, about(null)]))
  await stream.close()
})
node.services.pubsub.addEventListener('message', (event) => {
  say({ event: 'hint', topic: event.detail.topic, data: hex(event.detail.data) })
})

const streams = new Map() // open piece streams: the incoming side and the next call
const pieceStream = async (peer) => {
  if (!streams.has(peer)) {
    const stream = await node.dialProtocol(node.getPeers().find((id) => id.toString() === peer), PIECE)
    streams.set(peer, { stream, incoming: new Incoming(stream), call: 0 })
  }
  return streams.get(peer)
}

// Ask one thing of the piece protocol; the last value of the answer is the length of its tail.
const ask = async (peer, number, ...fields) => {
  const open = await pieceStream(peer)
  open.call += 1
  open.stream.send(frame([number, open.call, ...fields]))
  const [answer, call, ...rest] = await open.incoming.message()
  if (call !== open.call) throw new Error(`call ${call} answered, ${open.call} asked`)
  const hasTail = answer === 2 || answer === 6 || answer === 8
  return { answer, rest, tail: hasTail ? await open.incoming.take(rest[0]) : null }
}

// BEP 52: leaves of 16 KiB; a file above 1 MiB is a tree over its pieces of 64 leaves.
const fold = (nodes, zero) => {
  while (nodes.length > 1) {
    if (nodes.length % 2) nodes.push(zero)
    const above = []
    for (let at = 0; at < nodes.length; at += 2) above.push(sha256(Buffer.concat([nodes[at], nodes[at + 1]])))
    nodes = above
    zero = sha256(Buffer.concat([zero, zero]))
  }
  return nodes[0]
}
const leavesOf = (data) => {
  const leaves = []
  for (let at = 0; at < data.length; at += LEAF_BYTES) leaves.push(sha256(data.subarray(at, at + LEAF_BYTES)))
  return leaves
}
const pieceNode = (data) => {
  const leaves = leavesOf(data)
  while (leaves.length < PIECE_BYTES / LEAF_BYTES) leaves.push(Buffer.alloc(32))
  return fold(leaves, Buffer.alloc(32))
}
const rootOf = (pieces) => {
  if (pieces.length === 1) return fold(leavesOf(pieces[0]), Buffer.alloc(32))
  let zero = Buffer.alloc(32)
  for (let height = 0; height < 6; height += 1) zero = sha256(Buffer.concat([zero, zero]))
  return fold(pieces.map(pieceNode), zero)
}

const acts = {
  addresses: async () => node.getMultiaddrs().map(String),
  dial: async ({ address }) => (await node.dial(multiaddr(address))).remotePeer.toString(),
  protocols: async ({ peer }) => {
    const known = await node.peerStore.get(node.getPeers().find((id) => id.toString() === peer))
    return known.protocols
  },
  ping: async ({ address }) => await node.services.ping.ping(multiaddr(address)),
  subscribe: async ({ topic }) => node.services.pubsub.subscribe(topic),
  status: async ({ address }) => {
    const stream = await node.dialProtocol(multiaddr(address), STATUS)
    stream.send(frame([1, 7, about(address)]))
    const [number, call, theirs] = await new Incoming(stream).message()
    await stream.close()
    return { number, call, v: theirs.v, program: theirs.program, roles: theirs.roles, identity: hex(theirs.identity ?? []), observed: theirs.observed }
  },
  small: async ({ peer, sha256: digest }) => {
    const { answer, rest, tail } = await ask(peer, 1, bytesOf(digest))
    return answer === 2 ? { size: rest[0], isRight: hex(sha256(tail)) === digest } : { sorry: rest[0] }
  },
  have: async ({ peer, root, size }) => {
    const { answer, rest } = await ask(peer, 3, [bytesOf(root), size])
    return answer === 4 ? { isAll: rest[0] === null, slots: rest[1] } : { sorry: rest[0] }
  },
  fetch: async ({ peer, root, size }) => {
    const pieces = []
    for (let piece = 0; piece * PIECE_BYTES < size; piece += 1) {
      const length = Math.min(PIECE_BYTES, size - piece * PIECE_BYTES)
      const { answer, rest, tail } = await ask(peer, 7, [bytesOf(root), size], piece, 0, length)
      if (answer !== 8) return { sorry: rest[0] }
      pieces.push(Buffer.from(tail))
    }
    return { pieces: pieces.length, isRight: hex(rootOf(pieces)) === root, sha256: hex(sha256(Buffer.concat(pieces))) }
  },
  // Whole bytes as they are, to any protocol: what a peer does that knows no better.
  raw: async ({ address, protocol, bytes }) => {
    const stream = await node.dialProtocol(multiaddr(address), protocol)
    const all = bytesOf(bytes)
    for (let at = 0; at < all.length; at += SLICE) stream.send(all.subarray(at, at + SLICE))
    await stream.close()
    return true
  },
  hangUp: async ({ peer }) => {
    streams.delete(peer)
    await node.hangUp(node.getPeers().find((id) => id.toString() === peer))
    return true
  },
  peers: async () => node.getPeers().map(String)
}

say({ event: 'ready', addresses: node.getMultiaddrs().map(String), peer: node.peerId.toString() })
for await (const line of createInterface({ input: process.stdin })) {
  const { id, act, ...values } = JSON.parse(line)
  acts[act](values).then(
    (result) => say({ id, result: result ?? null }),
    (error) => say({ id, error: `${error.name}: ${error.message}` })
  )
}
await node.stop()
process.exit(0)
