/**
 * What must hold between the keys for names and places: each use of names has an instance-ID of its own
 * (RFC 9735 §6), so that a name means one thing there, and no two sites hold the same beginning.
 */
import type { Report } from './placed-addresses.js'
import type { Config } from './schema.js'

export function checkDescribedEids(config: Config, error: Report): void {
  const uses = new Map<number, string>()
  const owners = new Set<string>()
  config.mapServer.sites.forEach((site, index) => {
    site.names.forEach(({ use, instanceId, prefix }, at) => {
      const keys = ['mapServer', 'sites', index, 'names', at]
      const former = uses.get(instanceId)
      if (former !== undefined && former !== use) {
        const problem = `${instanceId} is the instance-ID of the names for ${former}`
        error(
          [...keys, 'instanceId'],
          problem,
          `give ${use} an instance-ID of its own (RFC 9735 §6)`,
        )
      }
      uses.set(instanceId, former ?? use)
      const beginning = `${instanceId} ${prefix}`
      if (owners.has(beginning)) {
        const hint = 'names that begin so belong to one site, named once'
        error([...keys, 'prefix'], `"${prefix}" is there twice`, hint)
      }
      owners.add(beginning)
      if (prefix.includes('\0'))
        error(
          [...keys, 'prefix'],
          'holds a NUL',
          'a name has none but that at its end (RFC 9735 §3)',
        )
    })
  })
}
