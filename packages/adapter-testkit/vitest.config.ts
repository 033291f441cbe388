import { kitOn } from '../../vitest.legs.js'

export default kitOn({ db: process.env.HOLDFAST_TEST_DB ?? 'postgres' })
