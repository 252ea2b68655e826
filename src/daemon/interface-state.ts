/**
 * What is wrong with the interfaces that this node needs, and which of them are other ones than before.
 *
 * An interface that was deleted and made again has another index, under which neither programs nor EIDs
 * are known. Pure: two readings and the configuration in. Who reads, and when, is interface-watch.ts; what
 * is done about it is for daemon.ts.
 */
import type { NodeConfig } from '../config/node-config.js'
import type { NetworkInterface } from '../datapath/network-interface.js'
import { equalIpAddresses, formatIpAddress } from '../lisp/address.js'

/** Something that packets meet now; an operator can mend it. */
export interface InterfaceProblem {
  readonly interfaceName: string
  /** `down` is also an interface without carrier. */
  readonly reason: 'missing' | 'down' | 'address-missing' | 'mtu-too-small'
  /** The RLOC that no interface has. */
  readonly address?: string
  /** Bytes that it carries, and that we send. */
  readonly mtu?: number
  readonly pathMtu?: number
}

/** By name of interface, those with an address last; empty when all is well. */
export function interfaceProblems(
  nodeConfig: NodeConfig,
  interfaces: readonly NetworkInterface[],
): InterfaceProblem[] {
  const problems: InterfaceProblem[] = []
  for (const interfaceName of usedInterfaces(nodeConfig)) {
    const found = interfaces.find(({ name }) => name === interfaceName)
    if (found === undefined) problems.push({ interfaceName, reason: 'missing' })
    else if (found.down === true) problems.push({ interfaceName, reason: 'down' })
  }
  const addresses = interfaces.flatMap((one) => one.addresses.map(({ address }) => address))
  for (const { address, interfaceName } of nodeConfig.rlocs) {
    if (addresses.some((one) => equalIpAddresses(one, address))) continue
    problems.push({ interfaceName, reason: 'address-missing', address: formatIpAddress(address) })
  }
  const underlay = new Set(nodeConfig.rlocs.map(({ interfaceName }) => interfaceName))
  const { pathMtu } = nodeConfig
  for (const { name, mtu } of interfaces)
    if (underlay.has(name) && mtu < pathMtu)
      problems.push({ interfaceName: name, reason: 'mtu-too-small', mtu, pathMtu })
  return problems
}

/** One sentence for an operator. */
export function problemText(problem: InterfaceProblem): string {
  const { interfaceName, reason, address } = problem
  if (reason === 'missing') return `there is no interface ${interfaceName}`
  if (reason === 'down') return `interface ${interfaceName} is down or has no carrier`
  if (reason === 'mtu-too-small')
    return (
      `${interfaceName} carries ${problem.mtu} bytes, fewer than pathMtu (${problem.pathMtu}): ` +
      'larger packets are dropped'
    )
  return `no interface has our RLOC ${address} (configured on ${interfaceName})`
}

/** What has come of the interfaces in use since `before`. */
export interface InterfaceChanges {
  /** Under an index that was not theirs before: made again, or only now made. */
  readonly renewed: readonly string[]
  /** The same ones with another MAC address, MTU or addresses. */
  readonly altered: readonly string[]
}

export function interfaceChanges(
  nodeConfig: NodeConfig,
  before: readonly NetworkInterface[],
  after: readonly NetworkInterface[],
): InterfaceChanges {
  const renewed: string[] = []
  const altered: string[] = []
  for (const name of usedInterfaces(nodeConfig)) {
    const former = before.find((one) => one.name === name)
    const present = after.find((one) => one.name === name)
    if (present !== undefined && present.index !== former?.index) renewed.push(name)
    else if (present !== undefined && factsOf(former) !== factsOf(present)) altered.push(name)
  }
  return { renewed, altered }
}

function usedInterfaces({ rlocs, siteInterfaces }: NodeConfig): Set<string> {
  const names = [
    ...rlocs.map(({ interfaceName }) => interfaceName),
    ...siteInterfaces.map(({ name }) => name),
  ]
  return new Set(names)
}

/** Whether it is up changes nothing about where programs belong. */
function factsOf(found: NetworkInterface | undefined): string {
  if (found === undefined) return ''
  const addresses = found.addresses.map(
    ({ address, maskLength }) => `${formatIpAddress(address)}/${maskLength}`,
  )
  return [found.mac.join(':'), found.mtu, found.leadsElsewhere, ...addresses.sort()].join(' ')
}
