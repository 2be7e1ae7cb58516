"""Owns the table of given names that are written in several ways and said in one, for the English normaliser.

Written from general knowledge for this project; of the leaderboard's own table we know only the size (about 150 pairs).
A variant stands here only if it is no other English word and is said like its first spelling, or nearly so.
"""

# First the spelling kept, then those folded into it.
_GROUPS = """
    aidan aiden
    alan allan allen
    alison allison alyson
    amy aimee
    anne ann
    anthony antony
    ashley ashleigh
    barry barrie
    bennett bennet
    brian bryan
    brittany britney brittney
    caitlin kaitlin kaitlyn katelyn caitlyn
    caleb kaleb
    cameron camron
    carl karl
    carla karla
    carol carole
    caroline carolyn
    catherine katherine kathryn catharine katharine
    cathy kathy
    chelsea chelsey
    cheryl sheryl
    chloe khloe
    chris kris
    christian kristian
    christina kristina cristina
    christine kristine
    christopher kristopher
    claire clare clair
    clark clarke
    cody kody
    colin collin
    connor conor
    corey cory
    craig kraig
    dana dayna
    danielle daniele
    darrell darryl daryl
    darren darrin
    debbie debby
    deborah debra
    dennis denis
    derek derrick
    devin devon
    diane dianne
    dominic dominick
    donovan donavan
    dylan dillon
    edmund edmond
    elaine elayne
    elizabeth elisabeth
    elliot elliott eliot
    emily emilie
    emmanuel emanuel
    eric erik erick
    erica erika
    frances francis
    frederick fredrick frederic
    garrett garret
    gary garry
    geoffrey jeffrey jeffery
    geoff jeff
    gerald jerald
    gerard jerard
    gillian jillian
    glen glenn
    graham graeme
    greg gregg
    hailey haley hayley
    hannah hanna
    harriet harriett
    hassan hasan
    hussein hussain
    ian iain
    isaac issac
    isabel isabelle isobel
    jackson jaxon
    jacob jakob
    jacqueline jaqueline jacquelyn
    jaime jamie
    jared jarrod
    jasmine jasmin
    jason jayson
    jayden jaden
    jenny jennie
    jeremy jeremey
    jerry gerry
    jessica jessika
    john jon
    johnny jonny
    jonathan johnathan jonathon
    joseph josef
    judy judi
    julian julien
    karen karin
    kate cate
    katie katy
    kelly kelley
    kelsey kelsie
    kimberly kimberley
    kristen kristin
    kurt curt
    lauren loren
    laurie lori
    lawrence laurence
    leah lea
    leslie lesley
    lewis louis
    linda lynda
    lindsay lindsey
    lucas lukas
    lucy lucie
    lynn lynne
    mackenzie mckenzie
    madeleine madeline madelyn
    malcolm malcom
    marc mark
    marcus markus
    margaret margret
    marianne maryann
    marilyn marylin
    martin martyn
    matthew mathew
    megan meghan meagan
    melissa melisa
    michael micheal mikael
    michelle michele
    mitchell mitchel
    mohammed mohamed muhammad mohammad
    molly mollie
    monica monika
    natalie nathalie
    neil neal
    nicholas nicolas nikolas
    nicole nichole
    oscar oskar
    philip phillip
    rachel rachael
    rafael raphael
    randall randal
    rebecca rebekah
    robin robyn
    rosemary rosemarie
    russell russel
    sara sarah
    scott scot
    sean shawn shaun
    shannon shanon
    sharon sharron
    shelly shelley
    sofia sophia
    sophie sofie
    stacy stacey
    stephanie stefanie
    steven stephen
    stuart stewart
    susanna susannah
    suzanne susanne
    sydney sidney
    sylvia silvia
    teresa theresa
    timothy timothee
    toby tobey
    tony toni
    tracy tracey
    tyler tylor
    valerie valery
    vicky vicki vickie
    victor viktor
    victoria viktoria
    vivian vivien vivienne
    zachary zackary
    zack zach zac
    zoe zoey
"""

GIVEN_NAMES: dict[str, str] = {
    variant: kept
    for kept, *variants in (line.split() for line in _GROUPS.split("\n") if line.strip())
    for variant in variants
}
