export { Child, type ChildOptions, childOptions } from './child.js'
export { compiled } from './compiled.js'
export { type AnyDatabase, connect, freshDatabase, poolDialect, type TestDatabase } from './database.js'
export { foundSoon } from './found-soon.js'
export { FreezingProxy } from './freezing-proxy.js'
export { Ledger, type LedgerEntry } from './ledger.js'
export {
  adminUrl,
  kyselyVersion,
  type LegDatabase,
  legDatabase,
  legUrl,
  onPostgres,
  requiredUrl,
  servicesOf,
} from './leg.js'
export { forbidden, refuseForbidden } from './statement-rules.js'
export { STEPPED_CLOCK } from './stepped-clock.js'
export { type Thrown, thrown } from './thrown.js'
export { typeErrors } from './type-errors.js'
export { patience, type UntilOptions, until } from './until.js'
