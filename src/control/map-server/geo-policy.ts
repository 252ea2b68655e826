/**
 * What a Map-Server gives out of where a site is (RFC 10040 §9): a policy of the site, applied to every
 * record that a Map-Server states in its name, whether the place is the EID or stands beside an RLOC.
 *
 * Our choices: without a policy nothing is given out, because whoever registers a place for its own use
 * has not agreed to publish it; under `areas` a geo-point is withheld and a geo-prefix given out. An
 * RLOC with coordinates beside it stays, as the plain address; one that is a path or a list with
 * coordinates inside is left out, because without them it would mean something else. An ETR that
 * answers itself decides itself.
 */
import type { GeoAnswers, NodeConfig } from '../../config/node-config.js'
import { type AfiAddress, holdsCoordinates } from '../../lisp/afi-address.js'
import type { Locator } from '../../lisp/locator.js'
import type { MappingTerms } from '../../lisp/mapping.js'

/** The policy of each site by its name; 'none' for one that is not configured any more. */
export function geoPolicies({ mapServer }: NodeConfig): (site: string) => GeoAnswers {
  const answers = new Map(mapServer.sites.map(({ name, geo }) => [name, geo?.answers] as const))
  return (site) => answers.get(site) ?? 'none'
}

/** Whether the place that this EID is may be given out. */
export function mayTellPlace(eid: AfiAddress, answers: GeoAnswers): boolean {
  if (!holdsCoordinates(eid)) return true
  return answers === 'all' || (answers === 'areas' && isArea(eid))
}

/** The record without the coordinates that the site does not give out; itself when it has none. */
export function withoutSecretPlaces<Record extends MappingTerms>(
  record: Record,
  answers: GeoAnswers,
): Record {
  const { locators, otherLocators } = record
  const tells = ({ structure }: { readonly structure?: AfiAddress }) =>
    structure === undefined || mayTellPlace(structure, answers)
  if (locators.every(tells) && (otherLocators ?? []).every(tells)) return record
  return {
    ...record,
    locators: locators.flatMap((one) => (tells(one) ? [one] : plainLocator(one))),
    ...(otherLocators === undefined ? {} : { otherLocators: otherLocators.filter(tells) }),
  }
}

function isArea(value: AfiAddress): boolean {
  if (value.kind === 'instance') return isArea(value.address)
  if (value.kind === 'list')
    return value.addresses.every((one) => !holdsCoordinates(one) || isArea(one))
  return value.kind === 'geo-location' && value.radius !== undefined
}

/** Without its structure, where that only says more of the address. */
function plainLocator({ structure, ...plain }: Locator): Locator[] {
  const kind = structure?.kind
  const saysMore = kind === 'geo-location' || kind === 'geo-coordinates' || kind === 'list'
  return saysMore ? [plain] : []
}
