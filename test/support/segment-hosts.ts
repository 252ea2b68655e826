/**
 * A site's segment with real hosts, for tests inside a network namespace of their own: a veth or a bridge
 * `site`, hosts behind it in namespaces that end with their process, and a node that serves it through
 * the same shell as the daemon's, with the real clock and no datapath.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface, type Interface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { NodeConfig } from '../../src/config/node-config.js'
import type { DatapathEvent } from '../../src/control/datapath-event.js'
import type { Event } from '../../src/control/event.js'
import type { Input, Output } from '../../src/control/input-output.js'
import { createNode } from '../../src/control/node.js'
import { createSegmentPackets } from '../../src/daemon/segment-packets.js'
import type { NativeAddon } from '../../src/datapath/native-addon.js'
import type { NetworkInterface } from '../../src/datapath/network-interface.js'
import { parseIpAddress } from '../../src/lisp/address.js'
import { someCapabilities } from './builders.js'

const HOST = fileURLToPath(new URL('./listening-host.js', import.meta.url))
const POLL_MS = 5

export function ip(words: string): string {
  return execFileSync('ip', words.split(' '), { encoding: 'utf8' })
}

export interface SegmentHost {
  /** One line of listening-host.ts; rejects when it could not be done. */
  tell(line: string): Promise<void>
  end(): Promise<void>
}

/** A host whose link `near` is here, up, and eth0 is there. */
export async function startHost(near: string): Promise<SegmentHost> {
  const child: ChildProcess = spawn('unshare', ['--net', process.execPath, HOST], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const lines: Interface = createInterface({ input: child.stdout! })
  const answers: string[] = []
  let wanted: ((line: string) => void) | undefined
  lines.on('line', (line) => {
    if (wanted === undefined) answers.push(line)
    else wanted(line)
  })
  const answer = async (): Promise<string> => {
    const waiting = answers.shift()
    if (waiting !== undefined) return waiting
    const line = await new Promise<string>((resolve) => {
      wanted = resolve
    })
    wanted = undefined
    return line
  }
  const tell = async (line: string): Promise<void> => {
    child.stdin!.write(`${line}\n`)
    const said = await answer()
    if (said !== 'done') throw new Error(`${line}: ${said}`)
  }
  await answer()
  ip(`link add ${near} type veth peer name eth0 netns ${child.pid}`)
  ip(`link set dev ${near} up`)
  await tell('up')
  return {
    tell,
    async end() {
      child.stdin!.end()
      if (child.exitCode === null) await once(child, 'exit')
    },
  }
}

/** What the kernel says of a device of this namespace. */
export function interfaceNamed(name: string): NetworkInterface {
  const [link] = JSON.parse(ip(`-j address show dev ${name}`)) as {
    ifindex: number
    address: string
    mtu: number
    addr_info: { local: string; prefixlen: number }[]
  }[]
  return {
    name,
    index: link!.ifindex,
    mac: Uint8Array.from(link!.address.split(':'), (byte) => Number.parseInt(byte, 16)),
    mtu: link!.mtu,
    addresses: link!.addr_info.map(({ local, prefixlen }) => ({
      address: parseIpAddress(local)!,
      maskLength: prefixlen,
    })),
  }
}

export interface Moment {
  readonly at: number
  readonly event: Event
}

export function startSegmentNode(config: NodeConfig, addon: NativeAddon) {
  const node = createNode(config, someCapabilities(1))
  const outputs: Output[] = []
  const moments: Moment[] = []
  /** Sent by us: protocol and destination. */
  const sent: { readonly at: number; readonly protocol: string; readonly payload: Uint8Array }[] =
    []
  let timer: NodeJS.Timeout | undefined
  let stopped = false
  const now = (): number => performance.now()
  const perform = (output: Output): void => {
    if (output.kind === 'persist') for (const one of output.then) perform(one)
    if (output.kind === 'event') moments.push({ at: now(), event: output.event })
    if (output.kind !== 'datapath' || output.operation.kind !== 'send-on-segment') return
    const { protocol, payload } = output.operation
    sent.push({ at: now(), protocol, payload })
    packets.send(output.operation)
  }
  const feed = (input: Input): void => {
    if (stopped) return
    node.handle(input, now(), outputs)
    for (const output of outputs.splice(0)) perform(output)
    clearTimeout(timer)
    const deadline = node.deadline()
    if (deadline === undefined) return
    const wait = Math.max(1, Math.ceil(deadline - now()))
    timer = setTimeout(() => feed({ kind: 'deadline' }), wait)
  }
  const raise = (event: DatapathEvent): void => feed({ kind: 'datapath', event })
  const packets = createSegmentPackets({
    addon,
    log: (severity, name, fields) => {
      if (severity !== 'debug') throw new Error(`${name} ${JSON.stringify(fields)}`)
    },
    onEvents: (events) => events.forEach(raise),
  })
  feed({ kind: 'restored', state: { records: [], localEids: [], mapCache: [] } })
  const names = config.siteInterfaces.map(({ name }) => name)
  packets.follow(config, names.map(interfaceNamed))
  const joined = (): string[] => node.snapshot(now()).groups.map(({ group }) => group)
  return {
    sent,
    moments,
    raise,
    packets,
    joined,
    listeners: () => node.snapshot(now()).listeners,
    segments: () => node.snapshot(now()).segments,
    /** Resolves to the milliseconds that it took; rejects with what there was instead. */
    async until(what: () => boolean, deadlineMs = 15_000): Promise<number> {
      const begun = now()
      while (!what()) {
        if (now() - begun > deadlineMs) {
          const last = moments.slice(-10).map(({ event }) => JSON.stringify(event))
          throw new Error(`not within ${deadlineMs} ms; ${joined()}; ${last.join('\n')}`)
        }
        await new Promise((resolve) => setTimeout(resolve, POLL_MS))
      }
      return now() - begun
    },
    stop(): void {
      stopped = true
      clearTimeout(timer)
      packets.close()
    },
  }
}
