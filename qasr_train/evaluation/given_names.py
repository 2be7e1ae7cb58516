"""Owns the table of given names that are written in several ways and said in one, for the English normaliser.

Written from general knowledge for this project; of the leaderboard's own table we know only the size (about 150 pairs).
A variant stands here only if it is no other English word and is said like its first spelling, or nearly so.
"""

# First the spelling kept, then those folded into it.
_GROUPS = """
    abby abbie
    ahmed ahmad
    aidan aiden
    aisha ayesha
    alan allan allen
    alexander aleksander alexandr
    alexandra aleksandra
    alison allison alyson
    amy aimee
    anne ann
    anthony antony
    ashley ashleigh
    barry barrie
    becky beckie
    bennett bennet
    billy billie
    bobby bobbie
    brian bryan
    brittany britney brittney
    caitlin kaitlin kaitlyn katelyn caitlyn
    caleb kaleb
    callum calum
    cameron camron
    carl karl
    carla karla
    carol carole
    caroline carolyn
    catherine katherine kathryn catharine katharine
    cathy kathy
    charlie charley
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
    dmitri dmitry dimitri
    dominic dominick
    donovan donavan
    dylan dillon
    eddie eddy
    edmund edmond
    elaine elayne
    elizabeth elisabeth
    elliot elliott eliot
    emily emilie
    emmanuel emanuel
    eric erik erick
    erica erika
    ewan euan
    finley finlay
    frances francis
    freddie freddy
    frederick fredrick frederic
    gabriella gabriela
    garrett garret
    gary garry
    geoff jeff
    geoffrey jeffrey jeffery
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
    isabella isabela izabella
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
    jimmy jimmie
    john jon
    johnny jonny
    jonathan johnathan jonathon
    joseph josef
    judy judi
    julian julien
    karen karin
    kate cate
    katie katy
    keira kiera
    kelly kelley
    kelsey kelsie
    khalid khaled
    kieran keiran kieron
    kimberly kimberley
    kristen kristin
    kurt curt
    lauren loren
    laurie lori
    lawrence laurence
    leah lea
    lee leigh
    leila layla
    leslie lesley
    lewis louis
    lily lilly
    linda lynda
    lindsay lindsey
    lucas lukas
    lucy lucie
    lynn lynne
    mackenzie mckenzie
    maddie maddy
    madeleine madeline madelyn
    malcolm malcom
    marc mark
    marcelo marcello
    marcus markus
    margaret margret
    marianne maryann
    marilyn marylin
    martin martyn
    mateo matteo
    matthew mathew
    megan meghan meagan
    melissa melisa
    michael micheal mikael
    michelle michele
    mitchell mitchel
    mohammed mohamed muhammad mohammad mohamad muhammed
    molly mollie
    monica monika
    natalia natalya
    natalie nathalie
    neil neal
    nicholas nicolas nikolas
    nicole nichole
    nikolai nikolay
    omar umar
    oscar oskar
    philip phillip
    rachel rachael
    rafael raphael
    randall randal
    rebecca rebekah
    robin robyn
    ronnie ronny
    rosemary rosemarie
    russell russel
    sally sallie
    sara sarah
    scott scot
    sean shawn shaun
    sergei sergey
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
    susie suzie suzy
    suzanne susanne
    sydney sidney
    sylvia silvia
    tatiana tatyana
    teresa theresa
    thomas tomas
    timothy timothee
    toby tobey
    tom thom
    tommy tommie
    tony toni
    tracy tracey
    tyler tylor
    valerie valery
    vicky vicki vickie
    victor viktor
    victoria viktoria
    vivian vivien vivienne
    yuri yury
    yusuf yousef youssef
    zachary zackary
    zack zach zac
    zoe zoey
"""

GIVEN_NAMES: dict[str, str] = {
    variant: kept
    for kept, *variants in (line.split() for line in _GROUPS.split("\n") if line.strip())
    for variant in variants
}
