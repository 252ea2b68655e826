/**
 * Traffic between the guest and a host: numbered streams both ways in both families, and a checked
 * TCP connection. The guest's ends run inside it and are fetched over the network at the end.
 */
import type { ChildProcess } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Topology } from '../config/topology-schema.js'
import type { StreamDescription } from '../demo/analysis.js'
import { decodeRecords, type PacketRecord } from '../demo/records.js'
import { PROBE, poll } from '../lab/daemons.js'
import { signalProcess, startProcess } from '../lab/processes.js'
import { addressesOf } from '../lab/topology.js'
import { GUEST, inGuest } from './guest.js'
import { deriveGuestClock } from './guest-clock.js'

export interface TcpEnd {
  readonly sent: number
  readonly received: number
  readonly corrupt: number
  readonly resets: number
  readonly longestStallMs: number
  readonly complete: boolean
}

export interface TrafficOutcome {
  readonly sent: readonly PacketRecord[]
  /** On the host's clock, also what the guest received. */
  readonly received: readonly PacketRecord[]
  readonly tcp: { readonly host: TcpEnd; readonly guest: TcpEnd }
}

export interface GuestTraffic {
  /** Freezes the host's sender of streams, and lets it go on. */
  hold(): void
  release(): void
  stop(): Promise<TrafficOutcome>
}

export const STREAMS: readonly StreamDescription[] = [
  { id: 1, family: 'ipv4', direction: 'toEndpoint', cold: false },
  { id: 2, family: 'ipv6', direction: 'toEndpoint', cold: false },
  { id: 3, family: 'ipv4', direction: 'fromEndpoint', cold: false },
  { id: 4, family: 'ipv6', direction: 'fromEndpoint', cold: false },
]

/** Starts everything; resolves when packets flow both ways. */
export async function startGuestTraffic(
  topology: Topology,
  host: string,
  directory: string,
): Promise<GuestTraffic> {
  const [host4, host6] = addressesOf(topology, host)
  const probe = (name: string, ...args: string[]): Promise<Ended> =>
    startOnHost(topology, host, name, [PROBE(), ...args])
  const file = (name: string): string => join(directory, `${name}.records`)
  await inGuest(
    topology,
    host,
    `cd /tmp
run() { name=$1; shift; "$@" > $name.out 2> $name.err < /dev/null & echo $! > $name.pid; }
run receiver godwit-probe stream recv --port 5000 --records received
run tcp godwit-probe tcp serve --port 5001 --rate ${TCP_RATE}
for i in 1 2 3 4 5 6 7 8 9; do grep -q listening receiver.err && grep -q listening tcp.err && break; sleep 1; done`,
    LISTEN_LIMIT_MS,
  )
  const receiver = await probe(
    'stream',
    'stream',
    'recv',
    '--port',
    '5000',
    '--records',
    file('in'),
  )
  await receiver.says('listening')
  await inGuest(
    topology,
    host,
    `cd /tmp
godwit-probe stream send --stream 3,${host4},5000 --stream 4,${host6},5000 --rate ${RATE} --size 200 \\
  --records sent > sender.out 2> sender.err < /dev/null &
echo $! > sender.pid`,
  )
  const connect = await probe('tcp', 'tcp', 'connect', '--to', GUEST.ipv4, '--port', '5001', '--rate', TCP_RATE) // biome-ignore format: one command
  await connect.says('connected')
  const streams = ['--stream', `1,${GUEST.ipv4},5000`, '--stream', `2,${GUEST.ipv6},5000`]
  const sender = await probe('send', 'stream', 'send', ...streams, '--rate', RATE, '--size', '200', '--records', file('out')) // biome-ignore format: one command
  return {
    hold: () => sender.signal('SIGSTOP'),
    release: () => sender.signal('SIGCONT'),
    async stop() {
      await inGuest(topology, host, 'kill -TERM $(cat /tmp/sender.pid)')
      await sender.end()
      const hostTcp = tcpEnd(await connect.end())
      await new Promise((resolve) => setTimeout(resolve, STRAGGLER_MS))
      await inGuest(topology, host, 'kill -TERM $(cat /tmp/receiver.pid); sleep 1')
      await receiver.end()
      const fetch = (name: string): Promise<Buffer> =>
        inGuest(topology, host, `cat /tmp/${name}`, FETCH_LIMIT_MS)
      const guestTcp = tcpEnd((await fetch('tcp.out')).toString())
      const hostReceived = decodeRecords(readFileSync(file('in'))).records
      const clock = deriveGuestClock(hostReceived)
      const onHostClock = hostReceived.map((record) => ({
        ...record,
        sentNs: clock(record.sentNs),
      }))
      const records = async (name: string): Promise<readonly PacketRecord[]> => {
        const bytes = await fetch(name)
        writeFileSync(file(`guest-${name}`), bytes)
        return decodeRecords(bytes).records
      }
      const guestSent = (await records('sent')).map((record) => ({
        ...record,
        sentNs: clock(record.sentNs),
      }))
      const guestReceived = (await records('received')).map((record) => ({
        ...record,
        receivedNs: clock(record.receivedNs!),
      }))
      return {
        sent: [...decodeRecords(readFileSync(file('out'))).records, ...guestSent],
        received: [...onHostClock, ...guestReceived],
        tcp: { host: hostTcp, guest: guestTcp },
      }
    },
  }
}

interface Ended {
  /** SIGTERM, then the last line of its stdout. */
  end(): Promise<string>
  signal(signal: NodeJS.Signals): void
  /** Resolves when it has said `word` on stderr; rejects when it ends before. */
  says(word: string): Promise<void>
}

async function startOnHost(
  topology: Topology,
  host: string,
  name: string,
  command: readonly string[],
): Promise<Ended> {
  const child = startProcess({
    topology: topology.name,
    node: host,
    name: `${host}-${name}`,
    command: [...command],
    output: 'pipe',
  })
  let [output, words] = ['', '']
  child.stdout?.on('data', (data) => {
    output += data
  })
  child.stderr?.on('data', (data) => {
    words = (words + data).slice(-MAXIMUM_WORDS)
  })
  return {
    says: (word) =>
      poll(START_LIMIT_MS, async () => {
        if (words.includes(word)) return undefined
        if (child.exitCode !== null) throw new Error(`${name} has ended: ${words.trim()}`)
        return `${name} has not started: ${words.trim()}`
      }),
    signal: (signal) => signalProcess(child.pid!, signal),
    async end() {
      const closed = whenClosed(child)
      child.kill('SIGTERM')
      const timer = setTimeout(() => child.kill('SIGKILL'), END_LIMIT_MS)
      await closed
      clearTimeout(timer)
      return output.trim().split('\n').at(-1) ?? ''
    },
  }
}

function whenClosed(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return Promise.resolve()
  return new Promise((resolve) => child.on('close', () => resolve()))
}

function tcpEnd(text: string): TcpEnd {
  try {
    return JSON.parse(text.trim().split('\n').at(-1) ?? '') as TcpEnd
  } catch {
    // No report: it was cut off, and that is not an intact connection.
    return { sent: 0, received: 0, corrupt: 0, resets: 1, longestStallMs: 0, complete: false }
  }
}

const RATE = '500'
const TCP_RATE = '200000'
const MAXIMUM_WORDS = 4_096
const STRAGGLER_MS = 1_500
const END_LIMIT_MS = 15_000
const FETCH_LIMIT_MS = 60_000
const LISTEN_LIMIT_MS = 20_000
const START_LIMIT_MS = 15_000
