/**
 * A host that listens to groups, as the kernel of a network namespace of its own: run by `unshare --net`,
 * it sets its one link up when the parent has moved it here, and then does what lines on its standard
 * input say: `join GROUP [SOURCE]`, `leave GROUP [SOURCE]`, `set SYSCTL VALUE`, `address A/N`, `mac M`.
 * Each is answered by `done` or by what went wrong.
 */
import { execFileSync } from 'node:child_process'
import { createSocket, type Socket } from 'node:dgram'
import { writeFileSync } from 'node:fs'
import { isIPv6 } from 'node:net'
import { createInterface } from 'node:readline'

const LINK = 'eth0'
const PORT = 5000

const ip = (words: string): string =>
  execFileSync('ip', words.split(' '), { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })

/** One socket for each group, so that each membership comes and goes alone. */
const sockets = new Map<string, Promise<Socket>>()

function socketOf(key: string, group: string): Promise<Socket> {
  const known = sockets.get(key)
  if (known !== undefined) return known
  const socket = createSocket({ type: isIPv6(group) ? 'udp6' : 'udp4', reuseAddr: true })
  const bound = new Promise<Socket>((resolve, reject) => {
    socket.once('error', reject)
    socket.bind(PORT, () => resolve(socket))
  })
  sockets.set(key, bound)
  return bound
}

function local(group: string): string {
  return isIPv6(group) ? `::%${LINK}` : ownAddress()
}

function ownAddress(): string {
  const found = /inet ([\d.]+)\//.exec(ip(`-4 address show dev ${LINK}`))?.[1]
  if (found === undefined) throw new Error('no IPv4 address')
  return found
}

async function obey(line: string): Promise<void> {
  const [word, first = '', second] = line.split(' ')
  const key = `${first} ${second ?? ''}`
  switch (word) {
    case 'up':
      ip('link set dev lo up')
      ip(`link set dev ${LINK} up`)
      return
    case 'mac':
      ip(`link set dev ${LINK} address ${first}`)
      return
    case 'address':
      ip(`address add ${first} dev ${LINK} ${isIPv6(first.split('/')[0]!) ? 'nodad' : ''}`.trim())
      return
    case 'set':
      writeFileSync(`/proc/sys/net/${first}`, second ?? '')
      return
    case 'join': {
      const socket = await socketOf(key, first)
      if (second === undefined) socket.addMembership(first, local(first))
      else socket.addSourceSpecificMembership(second, first, local(first))
      return
    }
    case 'leave': {
      const socket = await socketOf(key, first)
      sockets.delete(key)
      // Closing leaves, as the end of a program does.
      await new Promise<void>((resolve) => socket.close(resolve))
      return
    }
    default:
      throw new Error(`what is ${line}?`)
  }
}

let turn = Promise.resolve()
createInterface({ input: process.stdin }).on('line', (line) => {
  turn = turn
    .then(() => obey(line))
    .then(
      () => 'done',
      (error: unknown) => String(error).replaceAll('\n', ' '),
    )
    .then((answer) => void process.stdout.write(`${answer}\n`))
})
process.stdin.on('end', () => process.exit())
process.stdout.write('ready\n')
