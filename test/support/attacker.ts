/**
 * Somebody at the core who can send anything from any address, and see what passes.
 *
 * A namespace of its own behind the router, which owns the address it speaks from while it speaks;
 * answers go to the true owner. It is named like a node of the lab, so it goes down with it.
 */
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { namespaceFile, namespaceOf } from '../../src/lab/names.js'
import { runProgram } from '../../src/lab/network.js'
import { decodeMessage, type Message } from '../../src/lisp/message.js'
import type { RunningLab } from './running-lab.js'

export const ATTACKER = '172.16.66.66'

export interface Shot {
  readonly from: string
  readonly fromPort: number
  readonly to: string
  readonly toPort: number
  /** Payloads in hex. */
  readonly datagrams: readonly string[]
}

export interface Attacker {
  /** Resolves when the kernel has taken them all. */
  send(shot: {
    readonly from?: string
    readonly to: string
    readonly toPort?: number
    readonly datagrams: readonly Uint8Array[]
  }): Promise<void>
  /** Control messages that have passed the core since the start, in order. */
  captured(): Captured[]
  close(): Promise<void>
}

export interface Captured {
  readonly from: string
  readonly to: string
  readonly bytes: Uint8Array
  readonly message: Message
}

/** Plugs an attacker into the router `core`. */
export async function startAttacker(lab: RunningLab, core: string): Promise<Attacker> {
  const [inside, outside] = [
    namespaceOf(lab.topology.name, 'attacker'),
    namespaceOf(lab.topology.name, core),
  ]
  const lines = [
    `link add attacker netns ${outside} type veth peer name eth0 netns ${inside}`,
    `-n ${outside} address add ${GATEWAY}/24 dev attacker`,
    `-n ${outside} link set dev attacker up`,
    `-n ${inside} link set dev lo up`,
    `-n ${inside} address add ${ATTACKER}/24 dev eth0`,
    `-n ${inside} link set dev eth0 up`,
    `-n ${inside} route add default via ${GATEWAY}`,
  ]
  await runProgram('ip', ['netns', 'add', inside])
  for (const line of lines) await runProgram('ip', line.split(' '))
  // A core without source address validation.
  for (const name of ['all', 'attacker'])
    await lab.run(core, 'sysctl', '-qw', `net.ipv4.conf.${name}.rp_filter=0`)
  const file = join(lab.directory, 'control.pcap')
  const filter = 'ip and udp port 4342'
  const capture = lab.start(core, 'tcpdump', '-i', 'any', '-U', '-w', file, '-Q', 'in', filter)
  await capture.says('listening')
  const netns = `--net=${namespaceFile(lab.topology.name, 'attacker')}`
  const script = fileURLToPath(new URL('./datagram-child.js', import.meta.url))
  const child = spawn('nsenter', [netns, process.execPath, script], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const waiting: (() => void)[] = []
  createInterface({ input: child.stdout }).on('line', () => waiting.shift()?.())
  const ended = new Promise<void>((resolve) => child.on('close', () => resolve()))
  return {
    async send({ from = ATTACKER, to, toPort = 4342, datagrams }) {
      const hex = datagrams.map((bytes) => Buffer.from(bytes).toString('hex'))
      const shot: Shot = { from, fromPort: 4342, to, toPort, datagrams: hex }
      const own = (what: string): Promise<unknown> =>
        from === ATTACKER
          ? Promise.resolve()
          : runProgram('ip', ['-n', inside, 'address', what, `${from}/32`, 'dev', 'lo'])
      await own('add')
      await new Promise<void>((resolve, reject) => {
        waiting.push(resolve)
        ended.then(() => reject(new Error('the sender of datagrams has ended')))
        child.stdin.write(`${JSON.stringify(shot)}\n`)
      })
      await own('del')
    },
    captured: () => controlMessages(readFileSync(file)),
    async close() {
      child.stdin.end()
      await ended
      await capture.stop()
    },
  }
}

/** UDP over IPv4 in a capture of all interfaces (LINKTYPE_LINUX_SLL2: 20 bytes before IP). */
function controlMessages(bytes: Uint8Array): Captured[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const linkBytes = view.getUint32(20, true) === SLL2 ? 20 : 16
  const found: Captured[] = []
  for (let at = 24; at + 16 <= bytes.length; ) {
    const length = view.getUint32(at + 8, true)
    const ip = at + 16 + linkBytes
    at += 16 + length
    if (at > bytes.length) break
    const udp = ip + (bytes[ip]! & 15) * 4
    const payload = bytes.slice(udp + 8, udp + view.getUint16(udp + 4))
    const message = decodeMessage(payload)
    if (message.kind === 'malformed') continue
    const address = (offset: number): string => bytes.subarray(offset, offset + 4).join('.')
    found.push({ from: address(ip + 12), to: address(ip + 16), bytes: payload, message })
  }
  return found
}

const SLL2 = 276
const GATEWAY = '172.16.66.254'
