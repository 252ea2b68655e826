/** Frames of DHCP and duplicate address detection under test, and their seeds. */
import {
  type AddressHint,
  parseHintFrame,
  type UnreadHintFrame,
} from '../../src/datapath/address-hint-frames.js'
import { MAXIMUM_HINTED } from '../../src/datapath/dhcp-addresses.js'
import { formatIpAddress } from '../../src/lisp/address.js'
import { dhcpv4Frame, dhcpv6Frame, solicitationFrame } from '../support/hint-frames.js'
import type { Target } from './campaign.js'

export const addressHintTarget: Omit<Target<AddressHint | UnreadHintFrame>, 'seeds'> = {
  name: 'address-hint',
  weight: 2,
  decode: parseHintFrame,
  isDecoded: (value) => typeof value !== 'string',
  use(value) {
    if (typeof value === 'string') return
    const { addresses, surplus, mac } = value
    if (addresses.length === 0 || addresses.length > MAXIMUM_HINTED || surplus < 0)
      throw new Error(`${addresses.length} addresses and ${surplus} more`)
    if (mac !== undefined && mac.length !== 6) throw new Error(`a MAC of ${mac.length} bytes`)
    for (const address of addresses) formatIpAddress(address)
  },
}

export function addressHintSeeds(): Uint8Array[] {
  return [
    dhcpv4Frame({ op: 2, type: 5, yiaddr: '10.1.0.5' }),
    dhcpv4Frame({ op: 2, type: 5, ciaddr: '10.1.0.5', options: [1, 4, 255, 255, 0, 0] }),
    dhcpv4Frame({ op: 1, type: 3, requested: '10.1.0.5', options: [12, 2, 104, 105, 0, 0] }),
    dhcpv6Frame(3, ['fd00:1::5']),
    dhcpv6Frame(7, ['fd00:1::5', 'fd00:1::6']),
    solicitationFrame('fd00:1::5'),
  ]
}
