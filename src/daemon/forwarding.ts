/**
 * Whether the kernel forwards between the interfaces of this node, asked at the start and only said.
 *
 * The datapath asks the kernel for routes by bpf_fib_lookup, which answers only for interfaces with
 * forwarding on; without it every packet is dropped as no-route-to-rloc. Our choice: it is not turned on
 * here, because being a router is the decision of whoever owns the machine, and it is no reason to
 * refuse, because it may be turned on while the node runs.
 */
import { readFileSync } from 'node:fs'
import type { Config } from '../config/schema.js'

/**
 * One sentence with the remedy when an interface of `config` does not forward a family that is in use
 * there; undefined when all do. An interface that is not there yet is passed over, and so is a family
 * that the kernel does not have.
 */
export function forwardingIsOff(
  config: Pick<Config, 'rlocs' | 'siteInterfaces' | 'eidPrefixes' | 'dynamicEidPrefixes'>,
  read: (path: string) => string = (path) => readFileSync(path, 'utf8'),
): string | undefined {
  const texts = [
    ...config.rlocs.map(({ address }) => address),
    ...[...config.eidPrefixes, ...config.dynamicEidPrefixes].map(({ prefix }) => prefix),
  ]
  const families = [
    { name: 'ipv4', all: 'net.ipv4.ip_forward', used: texts.some((text) => !text.includes(':')) },
    {
      name: 'ipv6',
      all: 'net.ipv6.conf.all.forwarding',
      used: texts.some((text) => text.includes(':')),
    },
  ].filter(({ used }) => used)
  const names = new Set([
    ...config.rlocs.map((rloc) => rloc.interface),
    ...config.siteInterfaces.map(({ name }) => name),
  ])
  const off = families.flatMap(({ name: family, all }) =>
    [...names]
      .filter((name) => isOff(`/proc/sys/net/${family}/conf/${name}/forwarding`, read))
      .map((name) => ({ all, what: `${family} on ${name}` })),
  )
  if (off.length === 0) return undefined
  const remedy = [...new Set(off.map(({ all }) => `${all}=1`))].join(' ')
  const what = off.map((each) => each.what).join(', ')
  return `the kernel does not forward ${what}, so packets there are dropped as no-route-to-rloc: sysctl -w ${remedy}`
}

function isOff(path: string, read: (path: string) => string): boolean {
  try {
    return read(path).trim() === '0'
  } catch {
    return false
  }
}
