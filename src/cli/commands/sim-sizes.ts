/** Sizes as an operator types them: `sites=1000,eids=100`; all wrong words at once, with the right ones. */
import { CliFailure } from '../failure.js'

/**
 * Reads `name=number` pairs. `defaults` names what may be given; throws a `CliFailure` for anything
 * else, and for numbers that are not whole and positive (0 where the default is 0).
 */
export function readSizes<Name extends string>(
  text: string,
  defaults: Readonly<Record<Name, number>>,
): Record<Name, number> {
  const sizes: Record<Name, number> = { ...defaults }
  const names = Object.keys(defaults)
  for (const pair of text.split(',').filter((one) => one !== '')) {
    const [, name = '', digits = ''] = /^([a-z]+)=(\d{1,7})$/.exec(pair) ?? []
    const usual = defaults[name as Name]
    if (!names.includes(name) || (Number(digits) === 0 && usual !== 0)) {
      const example = names.map((one) => `${one}=${defaults[one as Name]}`).join(',')
      throw new CliFailure(`"${pair}" is not a size`, `as ${example}`, 2)
    }
    sizes[name as Name] = Number(digits)
  }
  return sizes
}
