/**
 * What a description of a virtual machine says of its EIDs: a libvirt domain XML (in <metadata>) or
 * an OVF envelope (properties `godwit.eids` and `godwit.instanceId` of a product section).
 *
 * Whether these EIDs may be here is for the node to say, which knows its prefixes; here they are
 * only read. A description without EIDs is a valid one: most machines have none.
 */
import { parseAddressText } from '../config/address-text.js'
import { type Eid, MAXIMUM_ENDPOINT_EIDS } from '../lisp/eid.js'
import { childrenOf, readXml, type XmlElement } from './xml-reader.js'

export interface WorkloadDescription {
  readonly kind: 'domain' | 'ovf'
  readonly name: string
  /** Lower case; undefined when the description has none. */
  readonly uuid: string | undefined
  readonly eids: readonly Eid[]
  /** MAC addresses of its interfaces, lower case. */
  readonly macs: readonly string[]
  /** Names of its interfaces on the host, where the description has them. */
  readonly taps: readonly string[]
}

export type WorkloadResult =
  | { readonly ok: true; readonly workload: WorkloadDescription }
  | { readonly ok: false; readonly problem: string }

/** The namespace of our element in <metadata>; libvirt keeps one element per namespace. */
const METADATA_NAMESPACE = 'urn:godwit:domain:1'

/** Reads a description; refuses with one sentence what is malformed, too long or names no EID. */
export function readWorkload(text: string): WorkloadResult {
  const document = readXml(text)
  if (!document.ok)
    return { ok: false, problem: `is not XML that can be read: ${document.problem}` }
  const { root } = document
  if (root.name === 'domain') return readDomain(root)
  if (root.name === 'Envelope' && root.namespace.startsWith(OVF_NAMESPACE)) return readOvf(root)
  return {
    ok: false,
    problem: `is neither a domain nor an OVF envelope but <${root.name.slice(0, 40)}>`,
  }
}

function readDomain(root: XmlElement): WorkloadResult {
  const name = childrenOf(root, 'name', '')[0]?.text.trim() ?? ''
  const uuid = childrenOf(root, 'uuid', '')[0]?.text.trim().toLowerCase()
  const lists = childrenOf(root, 'metadata', '').flatMap((metadata) =>
    childrenOf(metadata, 'eids', METADATA_NAMESPACE),
  )
  const eids: Eid[] = []
  for (const list of lists) {
    const texts = childrenOf(list, 'eid', METADATA_NAMESPACE).map(({ text }) => text.trim())
    const problem = addEids(eids, texts, list.attributes.get('instanceId') ?? '0')
    if (problem !== undefined) return { ok: false, problem }
  }
  const interfaces = childrenOf(root, 'devices', '')
    .flatMap((devices) => childrenOf(devices, 'interface', ''))
    .slice(0, MAXIMUM_ENDPOINT_EIDS)
  const each = (child: string, attribute: string): string[] =>
    interfaces.flatMap((one) => childrenOf(one, child, '')[0]?.attributes.get(attribute) ?? [])
  const macs = each('mac', 'address').map((mac) => mac.toLowerCase())
  const taps = each('target', 'dev').filter((name) => INTERFACE_NAME.test(name))
  return { ok: true, workload: { kind: 'domain', name, uuid, eids, macs, taps } }
}

function readOvf(root: XmlElement): WorkloadResult {
  const system = childrenOf(root, 'VirtualSystem')[0]
  if (system === undefined) return { ok: false, problem: 'has no <VirtualSystem>' }
  const attribute = (element: XmlElement, key: string): string | undefined =>
    element.attributes.get(`{${root.namespace}}${key}`) ?? element.attributes.get(key)
  const properties = new Map(
    childrenOf(system, 'ProductSection')
      .flatMap((section) => childrenOf(section, 'Property'))
      .map((one) => [attribute(one, 'key') ?? '', attribute(one, 'value') ?? ''] as const),
  )
  const eids: Eid[] = []
  const texts = (properties.get('godwit.eids') ?? '').split(/[\s,]+/).filter(Boolean)
  const problem = addEids(eids, texts, properties.get('godwit.instanceId') ?? '0')
  if (problem !== undefined) return { ok: false, problem }
  const name = childrenOf(system, 'Name')[0]?.text.trim() || (attribute(system, 'id') ?? '')
  return { ok: true, workload: { kind: 'ovf', name, uuid: undefined, eids, macs: [], taps: [] } }
}

/** Adds EIDs written as addresses or host prefixes; says what is wrong, or nothing. */
function addEids(eids: Eid[], texts: readonly string[], instance: string): string | undefined {
  if (!/^[0-9]{1,8}$/.test(instance) || Number(instance) > 0xffffff)
    return `instance-ID "${instance.slice(0, 20)}" is not a number up to 16777215`
  for (const text of texts) {
    const [, bare = '', length] = /^([0-9a-fA-F:.]{2,45})(?:\/(\d{1,3}))?$/.exec(text) ?? []
    const address = parseAddressText(bare)
    const host = address?.family === 4 ? '32' : '128'
    if (address === undefined || (length !== undefined && length !== host))
      return `"${text.slice(0, 60)}" is not an EID; write one IPv4 or IPv6 address`
    if (eids.length >= MAXIMUM_ENDPOINT_EIDS) return `names more than ${MAXIMUM_ENDPOINT_EIDS} EIDs`
    eids.push({ instanceId: Number(instance), address } as Eid)
  }
  return undefined
}

const OVF_NAMESPACE = 'http://schemas.dmtf.org/ovf/envelope/'
/** What the kernel takes, less what a shell or an option parser could take for more. */
const INTERFACE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$/
