/**
 * Memberships of groups, held as an application holds them: one UDP socket each. Runs as a process of
 * its own inside the namespace of a host.
 *
 * Lines of JSON on stdin, an `Order`; per line one of JSON on stdout, a `Done`. The sockets are bound
 * to no port that anybody sends to: what arrives is counted by the traffic tool, this one only asks
 * for it. Ends with stdin.
 */
import { createSocket, type Socket } from 'node:dgram'
import { isIPv6 } from 'node:net'
import { networkInterfaces } from 'node:os'
import { createInterface } from 'node:readline'

export interface Order {
  readonly action: 'join' | 'leave'
  readonly group: string
  /** Undefined: any source (ASM). */
  readonly source: string | undefined
}

/** `atNs`: CLOCK_MONOTONIC, before the kernel was asked; `error`: what it answered. */
export interface Done {
  readonly atNs: number
  readonly error?: string
}

const sockets = new Map<string, Socket>()

for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line) as Order
  const done = await obey(order).catch((cause: Error) => ({ atNs: 0, error: cause.message }))
  process.stdout.write(`${JSON.stringify(done satisfies Done)}\n`)
}
for (const socket of sockets.values()) socket.close()

async function obey({ action, group, source }: Order): Promise<Done> {
  const key = `${group} ${source ?? '*'}`
  const known = sockets.get(key)
  const socket = known ?? (await open(isIPv6(group)))
  sockets.set(key, socket)
  const on = interfaceFor(isIPv6(group))
  const atNs = Number(process.hrtime.bigint())
  if (action === 'leave') {
    socket.close()
    sockets.delete(key)
  } else if (source === undefined) socket.addMembership(group, on)
  else socket.addSourceSpecificMembership(source, group, on)
  return { atNs }
}

function open(v6: boolean): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createSocket({ type: v6 ? 'udp6' : 'udp4' })
    socket.once('error', reject)
    socket.bind(0, () => resolve(socket))
  })
}

/** As Node names interfaces for memberships: IPv4 by an address, IPv6 by scope. */
function interfaceFor(v6: boolean): string {
  const [name, addresses] = Object.entries(networkInterfaces()).find(([one]) => one !== 'lo') ?? []
  if (v6) return `::%${name}`
  return addresses?.find(({ family }) => family === 'IPv4')?.address ?? '0.0.0.0'
}
