/**
 * Sends datagrams from any address and port, as an attacker on the path could; runs as a process of
 * its own inside a node of a lab. Lines of JSON on stdin, see `Shot` in attacker.ts; says "sent" per
 * line on stdout when the kernel has taken all of them, and ends when it refuses one.
 */
import { createSocket, type Socket } from 'node:dgram'
import { isIPv6 } from 'node:net'
import { createInterface } from 'node:readline'
import type { Shot } from './attacker.js'

const sockets = new Map<string, Promise<Socket>>()

for await (const line of createInterface({ input: process.stdin })) {
  const { from, fromPort, to, toPort, datagrams } = JSON.parse(line) as Shot
  const socket = await socketOf(from, fromPort)
  for (const [index, hex] of datagrams.entries()) {
    await new Promise<void>((resolve, reject) => {
      const taken = (error: Error | null): void => (error ? reject(error) : resolve())
      socket.send(Buffer.from(hex, 'hex'), toPort, to, taken)
    })
    // Let the receiver breathe: what its socket buffer drops proves nothing about it.
    if (index % 100 === 99) await new Promise((resolve) => setTimeout(resolve, 5))
  }
  process.stdout.write('sent\n')
}
for (const socket of sockets.values()) (await socket).close()

function socketOf(from: string, port: number): Promise<Socket> {
  const key = `${from} ${port}`
  const known = sockets.get(key)
  if (known !== undefined) return known
  const opened = new Promise<Socket>((resolve, reject) => {
    const socket = createSocket({ type: isIPv6(from) ? 'udp6' : 'udp4', reuseAddr: true })
    socket.once('error', reject)
    socket.bind(port, from, () => resolve(socket))
  })
  sockets.set(key, opened)
  return opened
}
